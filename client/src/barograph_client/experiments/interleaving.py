"""Several rankers in one list: whose passage each place shows, and which ranker the reader then preferred.

``interleave`` merges, ``Shown.credit`` judges; both are pure. What chance decides comes from a seed, so a request
that is made again shows the same list. Used by ``experiments``, which records the credit.

Sources: team draft, Radlinski, Kurup, Joachims, "How does clickthrough data reflect retrieval quality?" (CIKM 2008);
balanced, Joachims, "Evaluating retrieval performance using clickthrough data" (2003), its credit as in Chapelle,
Joachims, Radlinski, Yue, "Large-scale validation and analysis of interleaved search evaluation" (TOIS 2012); three
rankers and more, Schuth, Sietsma, Whiteson, Lefortier, de Rijke, "Multileaved comparisons for fast online evaluation"
(CIKM 2014).
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Generic, Literal, TypeVar, get_args

import msgspec

from barograph_client.errors import InvalidInput

Method = Literal["team draft", "balanced", "multi-leave"]
Lot = Callable[[int], int]  # a uniform number below the one it is given
T = TypeVar("T")

LONGEST_LIST = 1_000  # what stands behind is not looked at
MOST_RANKERS = 50  # as many as an experiment has arms
GRADES = (1.0, 5.0)  # the worst and the best rating, as those of feedback


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a credit is made of: the ids of the list that was shown, and whose each place is.

    ``teams`` has the index of a ranker for each place; -1 where all rankers agree, or no fair choice was left: those
    places credit nobody. ``until`` tells for each ranker the place from which on it had nothing more to give: a pair is
    compared on the places before both of theirs. ``orders`` are the rankers' own lists, for the balanced method only.
    """

    method: Method
    rankers: tuple[str, ...]
    control: str
    ids: tuple[str, ...]
    teams: tuple[int, ...]
    until: tuple[int, ...]
    orders: tuple[tuple[str, ...], ...] = ()

    @property
    def named_teams(self) -> dict[str, str]:
        """The ranker that each passage is credited to, by id; those that credit nobody are not there."""
        return {one: self.rankers[team] for one, team in zip(self.ids, self.teams, strict=True) if team >= 0}

    def credit(
        self,
        *,
        clicks: Iterable[str] | None = None,
        citations: Iterable[str] | None = None,
        ratings: Mapping[str, float] | None = None,
        grades: tuple[float, float] = GRADES,
    ) -> dict[str, float]:
        """The preference for each ranker over the control: from -1 to 1, where 0 is a tie.

        Give one of three: the ids that were clicked (twice is once), those that the answer cites, or a rating by id. A
        rating counts by its place between the worst and the best of ``grades``, a click or a citation is a whole one;
        what was not rated, or not shown, counts nothing. A preference is the difference of what both teams got, as a
        share of it: its sign is the winner of the query, as in the sources. Raises InvalidInput for none or several of
        the three, and for a rating that is not on its scale.
        """
        gains = _gains(clicks, citations, ratings, grades)
        control = self.rankers.index(self.control)
        won = self._by_order if self.method == "balanced" else self._by_team
        return {
            name: _difference(*won(gains, ranker, control))
            for ranker, name in enumerate(self.rankers)
            if ranker != control
        }

    def _by_team(self, gains: Mapping[str, float], ranker: int, control: int) -> tuple[float, float]:
        fair = min(self.until[ranker], self.until[control])
        places = list(zip(self.ids[:fair], self.teams[:fair], strict=True))
        own, other = (math.fsum(gains.get(one, 0.0) for one, team in places if team == t) for t in (ranker, control))
        return own, other

    def _by_order(self, gains: Mapping[str, float], ranker: int, control: int) -> tuple[float, float]:
        """What stands above in each one's own list, down to where the last liked passage stands in either."""
        liked = [one for one in self.ids if gains.get(one, 0.0) > 0]
        if not liked:
            return 0.0, 0.0
        orders = self.orders[ranker], self.orders[control]
        depth = 1 + min(order.index(liked[-1]) for order in orders if liked[-1] in order)
        shown = set(liked)
        own, other = (math.fsum(gains[one] for one in order[:depth] if one in shown) for order in orders)
        return own, other


class Interleaved(msgspec.Struct, Generic[T], frozen=True):
    """``items``: the merged list to show, best first; ``shown`` is what its credit is made of."""

    items: tuple[T, ...]
    shown: Shown


def interleave(
    *lists: Iterable[T],
    names: Sequence[str] = (),
    control: str = "",
    method: Method | None = None,
    seed: str = "",
    length: int | None = None,
    id: Callable[[T], object] | None = None,
) -> Interleaved[T]:
    """The lists of two rankers or more, merged so that no place favours one of them.

    ``names`` are the rankers' (else "a", "b", …), ``control`` the one that the others are compared with (else the
    first). ``method`` is team draft for two, and its extension multi-leave for more; "balanced" is for two, and known
    to favour one of them where a list is the other's moved by a place. ``seed`` decides what is left to chance: name
    the query in it. ``length`` is that of the merged list (else of the longest one); of each list the first 1,000
    passages are looked at. ``id`` tells a passage's id; without one, passages are texts, numbers, or mappings with an
    "id".

    A passage that stands in a list twice counts once. Where all lists begin alike, those passages come first and credit
    nobody, and neither does what is left over when a ranker has no more to give.

    Raises InvalidInput for fewer than two lists, names that do not fit them, and passages without an id.
    """
    rankers = _names(names, len(lists))
    if method is None:
        method = "team draft" if len(lists) == 2 else "multi-leave"
    if method not in get_args(Method):
        raise InvalidInput("there is no such method", hint=f"Say one of {', '.join(get_args(Method))}.", value=method)
    if method != "multi-leave" and len(lists) != 2:
        raise InvalidInput(f"{method} is for two rankers", hint="Say 'multi-leave'.", value=len(lists))
    if (control or rankers[0]) not in rankers:
        raise InvalidInput("the control is none of the rankers", hint=f"Name {' or '.join(rankers)}.", value=control)
    if length is not None and length < 0:
        raise InvalidInput("a list cannot be shorter than nothing", value=length)
    found: dict[str, T] = {}
    orders = [_order(one, _id if id is None else id, found) for one in lists]
    most = min(LONGEST_LIST, max(map(len, orders)) if length is None else length)
    draw = random.Random(hashlib.blake2b(seed.encode("utf-8", "surrogatepass")).digest()).random
    merge = balanced if method == "balanced" else team_draft
    ids, teams, until = merge(orders, most, lambda n: int(draw() * n))
    shown = Shown(
        method=method, rankers=rankers, control=control or rankers[0], ids=tuple(ids), teams=tuple(teams),
        until=tuple(until), orders=tuple(map(tuple, orders)) if method == "balanced" else (),
    )  # fmt: skip
    return Interleaved(tuple(found[one] for one in ids), shown)


Merged = tuple[list[str], list[int], list[int]]  # ids, teams, and how far each ranker took part


def team_draft(orders: Sequence[Sequence[str]], most: int, lot: Lot) -> Merged:
    """Rounds in which each ranker, in an order by lot, adds its best passage that is not there yet.

    A round is held only if each ranker would find one in every order, so that each place of it is any ranker's with
    the same chance. Otherwise one ranker by lot adds one more, and what follows credits nobody. A ranker without any
    passage left is out of the draft; the others go on, while there are two.
    """
    ids = _common(orders)[:most]
    teams, until = [-1] * len(ids), [most] * len(orders)
    shown = set(ids)
    rests = [_Rest(order, shown) for order in orders]
    active, fair = list(range(len(orders))), True
    while len(ids) < most:
        ahead = {ranker: rests[ranker].ahead(len(active)) for ranker in active}
        for ranker in [one for one in active if not ahead[one]]:
            until[ranker] = min(until[ranker], len(ids))
            active.remove(ranker)
        if not active:
            break
        fair = fair and len(active) > 1
        whole = _whole([ahead[one] for one in active])
        for ranker in _by_lot(active, lot) if whole else [active[lot(len(active))]]:
            if len(ids) == most:
                break
            (passage,) = rests[ranker].ahead(1)
            shown.add(passage)
            ids.append(passage)
            teams.append(ranker if fair else -1)
        fair = fair and whole
    return ids, teams, until


def balanced(orders: Sequence[Sequence[str]], most: int, lot: Lot) -> Merged:
    """Both lists from the top in turn, the first by lot: the first n places hold as much of the one as of the other."""
    first = lot(2)
    at, ids, teams = [0, 0], list[str](), list[int]()
    shown: set[str] = set()
    while len(ids) < most and any(at[ranker] < len(orders[ranker]) for ranker in (0, 1)):
        ranker = first if at[first] <= at[1 - first] else 1 - first
        if at[ranker] == len(orders[ranker]):
            ranker = 1 - ranker
        passage = orders[ranker][at[ranker]]
        at[ranker] += 1
        if passage not in shown:
            shown.add(passage)
            ids.append(passage)
            teams.append(ranker)
    return ids, teams, [len(ids)] * 2


class _Rest:
    """What of a list is not shown yet."""

    def __init__(self, order: Sequence[str], shown: set[str]) -> None:
        self._order, self._at, self._shown = order, 0, shown

    def ahead(self, most: int) -> list[str]:
        """The next passages that are not shown, so many at most."""
        while self._at < len(self._order) and self._order[self._at] in self._shown:
            self._at += 1
        left = (self._order[index] for index in range(self._at, len(self._order)))
        return list(islice((one for one in left if one not in self._shown), most))


def _whole(ahead: Sequence[Sequence[str]]) -> bool:
    """Whether each of n rankers finds a passage even as the last: it has n, or one that no other could have taken."""
    n = len(ahead)
    for ranker, own in enumerate(ahead):
        others = {one for other, theirs in enumerate(ahead) if other != ranker for one in theirs[: n - 1]}
        if len(own) < n and others.issuperset(own):
            return False
    return True


def _by_lot(rankers: Sequence[int], lot: Lot) -> Iterable[int]:
    left = list(rankers)
    while left:
        yield left.pop(lot(len(left)))


def _common(orders: Sequence[Sequence[str]]) -> list[str]:
    """What all lists begin with."""
    same: list[str] = []
    for ones in zip(*orders, strict=False):
        if len(set(ones)) > 1:
            break
        same.append(ones[0])
    return same


def _order(passages: Iterable[T], id_of: Callable[[T], object], found: dict[str, T]) -> list[str]:
    """The ids of a list in their order, each once; ``found`` gets the passages."""
    order: dict[str, None] = {}
    for passage in islice(passages, LONGEST_LIST):
        name = id_of(passage)
        if not isinstance(name, str):
            name = str(name)
        order[name] = None
        found.setdefault(name, passage)
    return list(order)


def _id(passage: object) -> object:
    name = passage.get("id") if isinstance(passage, Mapping) else passage
    if isinstance(name, str | int):
        return name
    raise InvalidInput("a passage has no id", hint="Say where it is: id=lambda passage: passage.key.", value=passage)


def _names(names: Sequence[str], lists: int) -> tuple[str, ...]:
    if not 2 <= lists <= MOST_RANKERS:
        raise InvalidInput(f"from 2 to {MOST_RANKERS} lists can be interleaved", value=lists)
    given = tuple(names) or tuple(chr(ord("a") + n) if n < 26 else f"list {n + 1}" for n in range(lists))
    if len(given) != lists or len(set(given)) != lists:
        raise InvalidInput("the names do not fit the lists", hint="Name each list once.", value=names)
    return given


def _gains(
    clicks: Iterable[str] | None,
    citations: Iterable[str] | None,
    ratings: Mapping[str, float] | None,
    grades: tuple[float, float],
) -> dict[str, float]:
    given = [one for one in (clicks, citations, ratings) if one is not None]
    if len(given) != 1:
        raise InvalidInput("a credit comes from clicks, from citations or from ratings", hint="Give one of the three.")
    if ratings is None:
        if isinstance(given[0], str):
            raise InvalidInput("ids come in a list", hint=f"Write [{given[0]!r}].")
        return {str(one): 1.0 for one in given[0]}
    worst, best = grades
    if not (math.isfinite(worst) and math.isfinite(best) and worst < best):
        raise InvalidInput("the grades are no scale", hint="Write the worst and the best: (1, 5).", value=grades)
    for one in ratings.values():
        if isinstance(one, bool) or not isinstance(one, int | float) or not worst <= one <= best:
            raise InvalidInput(f"a rating lies from {worst:g} to {best:g}", hint="Say grades=(…, …).", value=one)
    return {str(name): (one - worst) / (best - worst) for name, one in ratings.items()}


def _difference(own: float, other: float) -> float:
    return (own - other) / (own + other) if own + other > 0 else 0.0
