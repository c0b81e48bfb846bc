"""Interleaved lists are fair: no place favours a ranker, and what readers like is credited to whom it belongs."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.core.metric import Catalogue
from barograph.experiments.assignment import definition_of
from barograph.experiments.design import Experiment, Guardrail, Variant, equal_variants, validated
from barograph_client.errors import InvalidExperiment, InvalidInput
from barograph_client.experiments.definition import INTERLEAVED
from barograph_client.experiments.interleaving import (
    Merged,
    Method,
    Shown,
    balanced,
    interleave,
    team_draft,
)

Draft = Callable[[Sequence[Sequence[str]], int, Callable[[int], int]], Merged]

LISTS = st.lists(st.sampled_from("abcdefgh"), max_size=8, unique=True)
SHORT = st.lists(st.sampled_from("abcde"), max_size=5, unique=True)
SEEDS = st.text(max_size=4)
LENGTHS = st.integers(0, 9)
BM25, DENSE = "abcdef", "badxyz"


def every_outcome(draft: Draft, orders: Sequence[Sequence[str]], most: int) -> Iterator[tuple[float, Merged]]:
    """Each way in which the lots may fall, with its chance."""
    waiting: list[tuple[int, ...]] = [()]
    while waiting:
        fallen = waiting.pop()
        sizes, merged = _run(draft, orders, most, fallen)
        waiting += [  # one later lot falls otherwise than the first way, those in between do not
            (*fallen, *[0] * (place - len(fallen)), other)
            for place in range(len(fallen), len(sizes))
            for other in range(1, sizes[place])
        ]
        yield 1 / math.prod(sizes), merged


def _run(draft: Draft, orders: Sequence[Sequence[str]], most: int, fallen: Sequence[int]) -> tuple[list[int], Merged]:
    sizes: list[int] = []

    def lot(n: int) -> int:
        sizes.append(n)
        return fallen[len(sizes) - 1] if len(sizes) <= len(fallen) else 0

    return sizes, draft(orders, most, lot)


def preference(shown: Shown, **liked: Any) -> float:
    return shown.credit(**liked)[shown.rankers[-1]]


class TestMergedList:
    @given(st.lists(LISTS, min_size=2, max_size=4), SEEDS, LENGTHS)
    def test_holds_each_passage_once_and_all_that_fit(self, lists: list[list[str]], seed: str, length: int) -> None:
        merged = interleave(*lists, seed=seed, length=length)
        everything = set().union(*lists)
        assert len(set(merged.items)) == len(merged.items) == min(length, len(everything))
        assert set(merged.items) <= everything
        assert merged.shown.ids == merged.items
        assert len(merged.shown.teams) == len(merged.items)

    @given(LISTS, LISTS, SEEDS, LENGTHS)
    def test_a_ranker_adds_what_stands_first_in_its_list(
        self, a: list[str], b: list[str], seed: str, length: int
    ) -> None:
        merged = interleave(a, b, seed=seed, length=length)
        for ranker, own in enumerate((a, b)):
            at = [own.index(one) for one, team in zip(merged.items, merged.shown.teams, strict=True) if team == ranker]
            assert at == sorted(at)
            for place, team in enumerate(merged.shown.teams):
                if team == ranker:
                    before = merged.items[:place]
                    assert merged.items[place] == next(one for one in own if one not in before)

    @given(LISTS, LISTS, SEEDS, LENGTHS)
    def test_teams_differ_by_one_passage_at_most_down_to_any_place(
        self, a: list[str], b: list[str], seed: str, length: int
    ) -> None:
        teams = interleave(a, b, seed=seed, length=length).shown.teams
        for place in range(len(teams) + 1):
            assert abs(teams[:place].count(0) - teams[:place].count(1)) <= 1

    @given(st.lists(LISTS, min_size=3, max_size=4), SEEDS)
    def test_so_do_those_of_any_two_of_several_where_they_are_compared(self, lists: list[list[str]], seed: str) -> None:
        shown = interleave(*lists, seed=seed).shown
        for one, other in combinations(range(len(lists)), 2):
            teams = shown.teams[: min(shown.until[one], shown.until[other])]
            assert abs(teams.count(one) - teams.count(other)) <= 1

    @given(LISTS, LISTS, SEEDS)
    def test_balanced_holds_as_much_of_the_top_of_both_lists_down_to_any_place(
        self, a: list[str], b: list[str], seed: str
    ) -> None:
        merged = interleave(a, b, method="balanced", seed=seed, length=8).items
        deepest = min(len(a), len(b))
        for place in range(len(merged) + 1):
            shown = set(merged[:place])
            assert any(
                shown == {*a[:n], *b[:m]} for n in range(len(a) + 1) for m in range(len(b) + 1)
                if abs(n - m) <= 1 or max(n, m) > deepest
            )  # fmt: skip

    @given(LISTS, LISTS, SEEDS)
    def test_a_longer_list_goes_on_where_the_shorter_one_ends(self, a: list[str], b: list[str], seed: str) -> None:
        short, long = (interleave(a, b, seed=seed, length=length) for length in (4, 8))
        assert long.items[:4] == short.items

    def test_the_same_seed_gives_the_same_list_and_others_give_others(self) -> None:
        assert len({interleave(BM25, DENSE, seed="q1").items for _ in range(5)}) == 1
        firsts = Counter(interleave("abc", "xyz", seed=f"q{n}").items[0] for n in range(400))
        assert set(firsts) == {"a", "x"}
        assert 150 < firsts["a"] < 250

    def test_a_list_is_the_same_in_every_version(self) -> None:
        merged = interleave(BM25, DENSE, seed="query-1", length=6)
        assert (merged.items, merged.shown.teams) == PINNED

    def test_passages_have_an_id_or_are_told_one(self) -> None:
        a, b = [{"id": 7, "text": "x"}, {"id": "8"}], [{"id": "8"}, {"id": 9}]
        merged = interleave(a, b, seed="s", length=3)
        assert set(merged.shown.ids) == {"7", "8", "9"}
        assert all(str(one["id"]) == name for one, name in zip(merged.items, merged.shown.ids, strict=True))
        vectors = interleave([[1.0], [2.0]], [[2.0]], id=lambda one: one[0])
        assert vectors.shown.ids[0] in ("1.0", "2.0")
        with pytest.raises(InvalidInput, match="a passage has no id"):
            interleave([[1.0]], [[2.0]])

    @pytest.mark.parametrize("lists", [((), ()), (("a",), ()), ((), ("a", "b")), (("a", "a"), ("a",))])
    def test_empty_lists_and_repeated_passages_are_lists_too(self, lists: tuple[Sequence[str], ...]) -> None:
        for method in METHODS:
            merged = interleave(*lists, method=method)
            assert sorted(merged.items) == sorted(set(lists[0]) | set(lists[1]))[: max(map(len, map(set, lists)))]

    @pytest.mark.parametrize(
        ("lists", "more", "what"),
        [
            ((BM25,), {}, "from 2 to 50 lists"),
            ((BM25, DENSE), {"names": ("a",)}, "names do not fit"),
            ((BM25, DENSE), {"names": ("a", "a")}, "names do not fit"),
            ((BM25, DENSE), {"control": "x"}, "control is none of the rankers"),
            ((BM25, DENSE, "q"), {"method": "balanced"}, "balanced is for two"),
            ((BM25, DENSE, "q"), {"method": "team draft"}, "team draft is for two"),
            ((BM25, DENSE), {"method": "fair"}, "no such method"),
            ((BM25, DENSE), {"length": -1}, "shorter than nothing"),
        ],
    )
    def test_what_cannot_be_merged_is_told(self, lists: Sequence[str], more: dict[str, Any], what: str) -> None:
        with pytest.raises(InvalidInput, match=what):
            interleave(*lists, **more)

    def test_long_lists_are_cut(self) -> None:
        merged = interleave(range(10_000), range(9_999, -1, -1), seed="s")
        assert len(merged.items) == 1_000


class TestFairness:
    """Exact: every way in which the lots may fall is tried."""

    @given(SHORT, SHORT, st.integers(0, 6))
    def test_each_place_is_either_rankers_with_the_same_chance(self, a: list[str], b: list[str], most: int) -> None:
        of: defaultdict[tuple[int, int], float] = defaultdict(float)
        for chance, (_, teams, _) in every_outcome(team_draft, (a, b), most):
            for place, team in enumerate(teams):
                of[place, team] += chance
        for place in range(most):
            assert of[place, 0] == pytest.approx(of[place, 1])

    @given(st.lists(SHORT, min_size=3, max_size=3))
    def test_random_clicks_prefer_nobody(self, lists: list[list[str]]) -> None:
        for rankers in (lists[:2], lists):
            expected = [0.0] * len(rankers)
            for chance, merged in every_outcome(team_draft, rankers, 4):
                shown = _shown(merged, len(rankers))
                clicks = [c for n in (1, 2) for c in combinations(range(4), n) if c[-1] < len(shown.ids)]
                for places in clicks:  # each reader opens certain places, whatever stands there
                    credit = shown.credit(clicks=[shown.ids[place] for place in places])
                    for ranker in range(1, len(rankers)):
                        expected[ranker] += chance * credit[str(ranker)]
            assert expected == pytest.approx([0.0] * len(rankers))

    def test_the_ways_are_all_there(self) -> None:
        chances = [chance for chance, _ in every_outcome(team_draft, ("abc", "xyz", "klm"), 9)]
        assert len(chances) == 6**3
        assert sum(chances) == pytest.approx(1)

    def test_balanced_favours_a_list_that_is_the_others_moved_by_a_place(self) -> None:
        expected = 0.0
        for chance, (ids, teams, until) in every_outcome(balanced, ("abc", "bca"), 3):
            shown = Shown(method="balanced", rankers=("0", "1"), control="0", ids=tuple(ids), teams=tuple(teams),
                          until=tuple(until), orders=(tuple("abc"), tuple("bca")))  # fmt: skip
            expected += sum(chance * preference(shown, clicks=[one]) for one in ids)
        assert expected == pytest.approx(1)  # of three readers who each open one place by chance

    @given(LISTS, SEEDS, st.lists(st.integers(0, 7), max_size=3), st.integers(2, 4))
    def test_identical_lists_give_no_preference(
        self, one: list[str], seed: str, places: list[int], rankers: int
    ) -> None:
        for method in METHODS if rankers == 2 else ("multi-leave",):
            merged = interleave(*[one] * rankers, seed=seed, method=method)
            assert list(merged.items) == one
            clicks = [one[place] for place in places if place < len(one)]
            assert set(merged.shown.credit(clicks=clicks).values()) == {0.0}

    def test_a_ranker_that_finds_nothing_does_not_keep_the_others_from_being_compared(self) -> None:
        shown = interleave("abc", "", "xyz", seed="s", length=6).shown
        assert shown.until[1] == 0
        assert shown.credit(clicks=["x"]) == {"b": 0.0, "c": 1.0}


class TestCredit:
    @given(LISTS, LISTS, SEEDS, st.dictionaries(st.sampled_from("abcdefgh"), st.floats(1, 5)))
    def test_lies_between_minus_one_and_one_and_the_control_is_its_mirror(
        self, a: list[str], b: list[str], seed: str, ratings: dict[str, float]
    ) -> None:
        for method in METHODS:
            one, other = (
                interleave(a, b, seed=seed, method=method, control=control).shown.credit(ratings=ratings)
                for control in ("a", "b")
            )
            assert -1 <= one["b"] <= 1
            assert one["b"] == -other["a"]

    def test_is_the_winners_and_a_tie_where_both_won_as_much(self) -> None:
        shown = interleave("abc", "xyz", seed="s", length=6).shown
        assert preference(shown, clicks=["x"]) == preference(shown, citations=["x", "x", "unknown"]) == 1
        assert preference(shown, clicks=["a", "b", "x"]) == pytest.approx(-1 / 3)
        assert preference(shown, clicks=["a", "x"]) == preference(shown, clicks=[]) == 0

    def test_a_rating_counts_by_its_place_on_the_scale_and_none_counts_nothing(self) -> None:
        shown = interleave("abc", "xyz", seed="s", length=6).shown
        assert preference(shown, ratings={"a": 2, "x": 5}) == pytest.approx((1 - 0.25) / 1.25)
        assert preference(shown, ratings={"a": 1, "x": 1}) == 0
        assert preference(shown, ratings={"x": 1}, grades=(0, 3)) == 1

    def test_balanced_counts_down_to_where_the_last_liked_passage_stands_in_either_list(self) -> None:
        shown = Shown(method="balanced", rankers=("A", "B"), control="A", ids=tuple("abdgch"), teams=(0, 1) * 3,
                      until=(6, 6), orders=(tuple("abcdgh"), tuple("bdghca")))  # fmt: skip
        assert preference(shown, clicks=["d"]) == 1  # second of B's: A has it only as the fourth
        assert preference(shown, clicks=["a", "d"]) == 0  # down to the second place each has one
        assert preference(shown, clicks=["a"]) == -1

    def test_outlives_the_process(self) -> None:
        shown = interleave(BM25, DENSE, seed="s").shown
        assert msgspec.json.decode(msgspec.json.encode(shown), type=Shown) == shown

    @pytest.mark.parametrize(
        ("given", "what"),
        [
            ({}, "from clicks, from citations or from ratings"),
            ({"clicks": ["a"], "ratings": {"a": 5}}, "from clicks, from citations or from ratings"),
            ({"clicks": "ab"}, "ids come in a list"),
            ({"ratings": {"a": 6}}, "lies from 1 to 5"),
            ({"ratings": {"a": math.nan}}, "lies from 1 to 5"),
            ({"ratings": {"a": "good"}}, "lies from 1 to 5"),
            ({"ratings": {"a": True}, "grades": (0, 1)}, "lies from 0 to 1"),
            ({"ratings": {"a": 1}, "grades": (1, 1)}, "no scale"),
        ],
    )
    def test_what_is_no_credit_is_told(self, given: Mapping[str, Any], what: str) -> None:
        with pytest.raises(InvalidInput, match=what):
            interleave(BM25, DENSE).shown.credit(**given)


class TestDefinition:
    def test_is_compared_by_the_preference_for_each_ranker(self) -> None:
        checked = validated(RANKING, Catalogue())
        assert (checked.control, checked.primary_metric) == ("bm25", "score.preference.ranking.dense")
        assert validated(checked, Catalogue()) == checked
        assert definition_of(checked).kind == "interleaving"

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"primary_metric": "satisfaction"}, "compared by what readers prefer"),
            ({"better": "lower"}, "compared by what readers prefer"),
            ({"secondary_metrics": ("satisfaction",)}, "secondary_metrics is for arms"),
            ({"guardrails": (Guardrail(metric="response_time.mean", margin=0.1),)}, "guardrails is for arms"),
            ({"sticky": True}, "sticky is for arms"),
            ({"variants": (Variant(key="a", weight=0.9), Variant(key="b", weight=0.1))}, "equal weights"),
            ({"variants": equal_variants("a", INTERLEAVED)}, "no ranker can be called so"),
            ({"variants": equal_variants("a", "b" * 128)}, "more than 128 characters"),
            ({"variants": equal_variants("a")}, "two arms"),
            ({"kind": "mixing"}, "not well-formed"),
        ],
    )
    def test_that_says_what_only_arms_have_is_refused(self, values: dict[str, object], says: str) -> None:
        with pytest.raises(InvalidExperiment, match=says):
            validated(msgspec.structs.replace(RANKING, **values), Catalogue())


RANKING = Experiment(key="ranking", kind="interleaving", variants=equal_variants("bm25", "dense"))
METHODS: tuple[Method, ...] = ("team draft", "balanced", "multi-leave")
PINNED = (tuple("bacdex"), (1, 0, 0, 1, 0, 1))


def _shown(merged: Merged, rankers: int) -> Shown:
    ids, teams, until = merged
    names = tuple(map(str, range(rankers)))
    return Shown(method="multi-leave", rankers=names, control="0", ids=tuple(ids), teams=tuple(teams),
                 until=tuple(until))  # fmt: skip
