"""One SQL statement for all metric questions of one bucket, one grouping and the same filters.

Planning a statement costs the engine more than reading the rollups it names, so questions that can share one do:
several metrics over one window, the same measures over windows that do not overlap, any measures over brief windows,
and several projects where nothing is grouped. Every branch (a tier of the rollups, or the raw rows of a kind) yields
the same long rows: number of the measure, number of the window, project, bucket, groups, count, sum, and the mergeable
states that somebody needs. Where windows overlap, what is read of a table is cut where it begins or ends for one of
them, and each cut counts to every window that reads it. The outer level merges by window, project, bucket and group,
into columns that carry the measure's number: ``n0``, ``total0``, ``quantile0``.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from barograph.core.metric import Metric
from barograph.core.query import MetricQuery, Window
from barograph.store.filters import Parameters, condition, dimension, on_labels, within
from barograph.store.measures import ATTRIBUTED, Measured, Term, terms
from barograph.store.windows import RAW, Piece, bucket_sql, cover, tiers_for


class State(NamedTuple):
    """What an aggregation needs beside count and sum, as SQL.

    ``rolled_up`` merges a rollup's column and ``raw`` makes a state of raw values; {if} and {only} keep both to the
    measures that need it. ``value`` is the number that comes of it for measure {i}.
    """

    rolled_up: str
    raw: str
    value: str


STATES: dict[str, State] = {
    "quantile": State(
        "quantilesBFloat16MergeState{if}(0.5)(sketch{only})",
        "quantilesBFloat16State{if}(0.5)(greatest(least(v, 3e38), -3e38){only})",
        "quantilesBFloat16MergeIf({levels})(a_quantile, term = {i})",
    ),
    "distinct": State(
        "uniqCombined64MergeState{if}(15)(different{only})",
        "CAST(uniqCombined64ArrayState{if}(15)(texts{only}), 'AggregateFunction(uniqCombined64(15), String)')",
        "uniqCombined64MergeIf(15)(a_distinct, term = {i})",
    ),
    "last": State(
        "argMaxMergeState{if}(last{only})", "argMaxState{if}(v, time{only})", "argMaxMergeIf(a_last, term = {i})"
    ),
    "min": State("min(least)", "min(v)", "minIf(a_min, term = {i})"),
    "max": State("max(most)", "max(v)", "maxIf(a_max, term = {i})"),
}


BRIEF = 7200.0  # seconds of a window that may be read for the measures of others: it has few minutes
MOST_PROJECTS = 100  # in a statement, whose parameters may be in an address


class Part:
    """A metric over one window: what it is computed from, and which tables hold that."""

    def __init__(self, metric: Metric, question: MetricQuery, zone: ZoneInfo, *, raw_only: bool = False) -> None:
        self.metric, self.question, self.zone, self.raw_only = metric, question, zone, raw_only
        self.terms = terms(metric)
        names = [*question.by, *(filter_.field for filter_ in question.where)]
        rolled_up = not raw_only and on_labels(question.by, question.where)
        tiers = tiers_for(question.every, question.window, zone, question.offset) if rolled_up else []
        self.pieces: list[Piece] = cover(_read(question), tiers)
        attributed = any(term.kind in ATTRIBUTED for term in self.terms) and bool(names)
        self.level = 1 if attributed or any(name != "environment" for name in names) else 0
        self.needs_rest = attributed and not question.where and metric.aggregation not in STATES
        self._check_names()

    def _check_names(self) -> None:
        """Refuse a name that a kind does not have also where only rollups would be read. Raises InvalidQuery."""
        for term in self.terms:
            table = raw_table(term.kind, self.level)
            for name in self.question.by:
                dimension(name, table, Parameters(), asked=term.kind)
            for filter_ in self.question.where:
                condition(filter_, table, Parameters(), asked=term.kind)

    @property
    def size(self) -> Term:
        """The term by whose count groups are large or small: what is counted, or the denominator of a ratio."""
        return self.terms[-1]

    @property
    def quantile(self) -> bool:
        return self.metric.aggregation == "quantile"

    @property
    def tables(self) -> set[str]:
        return {piece.table for piece in self.pieces}

    def together(self) -> Hashable:
        """Parts with the same value and the same window can be asked in one statement."""
        alone: tuple[Hashable, ...] = (self.metric.name,) if self.needs_rest else ()
        size = (self.size.kind, self.size.name, self.question.project) if self.question.by else ()
        asked = self.question
        alike = (asked.every, asked.offset, asked.by, asked.where, asked.timezone)
        if asked.trailing:  # what is read for a window reaches beyond it
            alone += (asked.trailing, asked.window)
        return alike, asked.limit, self.level, self.raw_only, size, alone

    @property
    def brief(self) -> bool:
        """Whether it can be asked with others over windows that overlap: one number of each, from the minutes."""
        asked = self.question
        return asked.every is None and asked.window.seconds <= BRIEF and self.tables != {RAW} and not self.needs_rest

    def unlabelled(self) -> Part:
        """The same without groups: what is not attributed yet is the rest."""
        return Part(self.metric, replace(self.question, by=()), self.zone, raw_only=self.raw_only)


def _read(question: MetricQuery) -> Window:
    """The time whose events are in the answer."""
    if not question.trailing:
        return question.window
    before = timedelta(seconds=question.trailing - float(question.every or 0))
    return Window(question.window.start - before, question.window.end)


def raw_table(kind: str, level: int) -> str:
    """Where the raw rows of a kind are: labelled feedback and scores are in their attribution."""
    return "attribution" if kind in ATTRIBUTED and level == 1 else kind


def grouped(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts in as few groups as there can be statements, those with most work first."""
    found = [group for those in _alike(parts) for group in _by_project(those)]
    return sorted(found, key=lambda group: -sum(len(part.tables) for part in group))


def _alike(parts: Sequence[Part]) -> list[list[Part]]:
    brief: dict[Hashable, list[Part]] = {}
    over: dict[Hashable, list[Part]] = {}  # those that go together, over one window
    for part in parts:
        if part.brief:
            brief.setdefault(part.together(), []).append(part)
        else:
            over.setdefault((part.together(), part.question.window), []).append(part)
    alike: dict[Hashable, list[list[Part]]] = {}
    for those in sorted(over.values(), key=lambda those: those[0].question.window.start):
        measures = frozenset(term.measured for part in those for term in part.terms)
        groups = alike.setdefault((those[0].together(), measures), [])
        for group in groups:
            if group[-1].question.window.end <= those[0].question.window.start:
                group.extend(those)
                break
        else:
            groups.append(list(those))
    return [*brief.values(), *(group for groups in alike.values() for group in groups)]


def _by_project(parts: list[Part]) -> list[list[Part]]:
    """As many of them as a statement has projects at most."""
    projects = list(dict.fromkeys(part.question.project for part in parts))
    if len(projects) <= MOST_PROJECTS:
        return [parts]
    place = {project: i // MOST_PROJECTS for i, project in enumerate(projects)}
    return [[part for part in parts if place[part.question.project] == i] for i in range(max(place.values()) + 1)]


class Statement:
    """The statement of a group of parts, under construction."""

    def __init__(self, parts: Sequence[Part]) -> None:
        first = parts[0]
        self.question, self.level, self.size = first.question, first.level, first.size
        self.projects = list(dict.fromkeys(part.question.project for part in parts))
        self.windows = sorted({part.question.window for part in parts}, key=lambda window: (window.start, window.end))
        read = [self._of(window, parts).pieces for window in self.windows]
        self.pieces = [piece for pieces in read for piece in pieces]
        self.overlap = any(earlier.end > later.start for earlier, later in pairwise(self.windows))
        if self.overlap:
            self.pieces = _cut(self.pieces)
        self.read_by = [[i for i, pieces in enumerate(read) if _reads(pieces, piece)] for piece in self.pieces]
        self.measures: list[Measured] = []
        self.needed: dict[str, list[int]] = {}  # an aggregation with a state, and the measures that need it
        self.levels: dict[int, list[float]] = {}  # the percentiles asked of a measure
        self.needs_rest = first.needs_rest
        for part in parts:
            for term in part.terms:
                if term.measured not in self.measures:
                    self.measures.append(term.measured)
            self._need(part.metric, self.number(part.terms[0]))

    @staticmethod
    def _of(window: Window, parts: Sequence[Part]) -> Part:
        return next(part for part in parts if part.question.window == window)

    def period(self, window: Window) -> int:
        """The number that a window has in this statement's rows."""
        return self.windows.index(window)

    def _need(self, metric: Metric, number: int) -> None:
        if metric.aggregation in STATES:
            wanted = self.needed.setdefault(metric.aggregation, [])
            if number not in wanted:
                wanted.append(number)
        if metric.aggregation == "quantile":
            levels = self.levels.setdefault(number, [])
            if (level := metric.level or 0.5) not in levels:
                levels.append(level)

    def number(self, term: Term) -> int:
        """The number that a term's measure has in this statement's columns."""
        return self.measures.index(term.measured)

    def build(self) -> tuple[str, dict[str, Any]]:
        """The SQL and its parameters; one row a window, bucket and group."""
        parameters = Parameters()
        branches: list[str] = []
        for table in dict.fromkeys(piece.table for piece in self.pieces):
            windows = [piece.window for piece in self.pieces if piece.table == table]
            if table == RAW:
                kinds = dict.fromkeys(measure.kind for measure in self.measures)
                branches += [self._raw(kind, windows, parameters) for kind in kinds]
            else:
                branches.append(self._rollup(table, windows, parameters))
        source = f"({' UNION ALL '.join(branches)})"
        largest, limit = self._largest(source)
        source = self._overlapping(self._sliding(source))
        sql = (
            f"SELECT period, slot{self._groups}, {', '.join(self._columns())} FROM {source}{largest} "
            f"GROUP BY period, slot{self._groups} ORDER BY {limit or f'period, slot{self._groups}'}"
        )
        return sql, parameters.values

    def _columns(self) -> list[str]:
        columns = []
        for i in range(len(self.measures)):
            columns += [f"sumIf(n, term = {i}) AS n{i}", f"sumIf(total, term = {i}) AS total{i}"]
        for name, numbers in self.needed.items():
            for i in numbers:
                levels = ", ".join(repr(float(level)) for level in self.levels.get(i, ()))
                columns.append(f"{STATES[name].value.format(i=i, levels=levels)} AS {name}{i}")
        return columns

    def _largest(self, source: str) -> tuple[str, str]:
        """What keeps only the largest groups: a condition, or an order with a limit when a group is one row.

        Without it a question by user would fetch every user there is. What is not attributed yet is told from the
        sum over all groups, so those questions keep all of theirs.
        """
        if not self.question.by or self.needs_rest:
            return "", ""
        size = f"sumIf(n, term = {self.number(self.size)}) DESC{self._groups}"
        order = f"{size} LIMIT {self.question.limit} BY period"
        if self.question.every is None:
            return "", order
        groups = f"period{self._groups}"
        return f" WHERE ({groups}) IN (SELECT {groups} FROM {source} GROUP BY {groups} ORDER BY {order})", ""

    def _sliding(self, source: str) -> str:
        """Each bucket's row once for every window that the bucket is in, as the last bucket of that window."""
        asked = self.question
        if not asked.trailing:
            return source
        first, end = (f"{int(moment.timestamp())} - toInt64(slot)" for moment in (asked.window.start, asked.window.end))
        later = f"range(greatest(0, {first}), least({asked.trailing}, {end}), {int(float(asked.every or 0))})"
        return f"(SELECT * REPLACE (slot + later AS slot) FROM {source} ARRAY JOIN {later} AS later)"

    def _overlapping(self, source: str) -> str:
        """Each cut's row once for every window that it is in."""
        if not self.overlap:
            return source
        return f"(SELECT * REPLACE (reading AS period) FROM {source} ARRAY JOIN {self.read_by}[period + 1] AS reading)"

    def _states(self, how: Literal["rolled_up", "raw"], numbers: list[int]) -> str:
        """The states that a branch with these measures gives: those that anybody needs, empty for the others."""
        given = ""
        for name, needing in self.needed.items():
            every = set(numbers) <= set(needing)
            only = "" if every else f", term IN ({', '.join(map(str, needing))})"
            state = getattr(STATES[name], how).replace("{if}", "" if every else "If").replace("{only}", only)
            given += f", {state} AS a_{name}"
        return given

    def _rollup(self, tier: str, windows: list[Window], parameters: Parameters) -> str:
        zone_name = parameters.add(self.question.timezone, "String")
        pairs = [
            (parameters.add(measure.kind, "String"), parameters.add(measure.name, "String"))
            for measure in self.measures
        ]
        where = [
            self._of_projects(parameters),
            f"level = {self.level}",
            f"kind IN ({', '.join(kind for kind, _ in pairs)})",
            f"name IN ({', '.join(name for _, name in pairs)})",
            "term >= 0",  # a kind with another's name
            within("bucket", windows, parameters),
            *(condition(filter_, "query", parameters) for filter_ in self.question.where),
        ]
        groups = "".join(f", toString({name}) AS g{i}" for i, name in enumerate(self.question.by))
        numbers = ", ".join(f"kind = {kind} AND name = {name}, {i}" for i, (kind, name) in enumerate(pairs))
        term = f"multiIf({numbers}, -1)" if len(pairs) > 1 else "0"
        states = self._states("rolled_up", list(range(len(pairs))))
        return (
            f"SELECT toInt64({term}) AS term, {self._period('bucket', tier, parameters)} AS period, "
            f"{bucket_sql('bucket', self.question.every, zone_name, self.question.offset)} AS slot"
            f"{self._owner}{groups}, sum(n) AS n, sum(total) AS total{states} "
            f"FROM {tier} WHERE {' AND '.join(where)} GROUP BY term, period, slot{self._groups}"
        )

    def _raw(self, kind: str, windows: list[Window], parameters: Parameters) -> str:
        zone_name = parameters.add(self.question.timezone, "String")
        table = raw_table(kind, self.level)
        attributed = table == "attribution"
        measures = [(i, measure) for i, measure in enumerate(self.measures) if measure.kind == kind]
        names = {i: parameters.add(measure.name, "String") for i, measure in measures if measure.named}
        values = []
        for i, measure in measures:
            value = measure.expression(attributed=attributed)
            values.append(f"if(name = {names[i]}, {value}, NULL)" if measure.named else value)
        where = [
            self._of_projects(parameters),
            within("time", windows, parameters),
            *([f"subject = {parameters.add(kind, 'String')}"] if attributed else []),
            *([f"name IN ({', '.join(names.values())})"] if len(names) == len(measures) else []),
            *(condition(filter_, table, parameters, asked=kind) for filter_ in self.question.where),
            "isNotNull(maybe)",
        ]
        groups = "".join(
            f", {dimension(name, table, parameters, asked=kind)} AS g{i}" for i, name in enumerate(self.question.by)
        )
        numbers = [i for i, _ in measures]
        several = "".join(f"term = {i}, {measure.texts}, " for i, measure in measures if measure.texts)
        texts = f"multiIf({several}emptyArrayString())" if several else "emptyArrayString()"
        states = self._states("raw", numbers)
        return (
            f"SELECT term, period, slot{self._groups}, count() AS n, sum(v) AS total{states} FROM ("
            f"SELECT time, {self._period('time', RAW, parameters)} AS period, "
            f"{bucket_sql('toDateTime(time)', self.question.every, zone_name, self.question.offset)} AS slot"
            f"{self._owner}{groups}, toInt64(number) AS term, assumeNotNull(maybe) AS v, {texts} AS texts FROM {table} "
            f"ARRAY JOIN [{', '.join(map(str, numbers))}] AS number, [{', '.join(values)}] AS maybe "
            f"WHERE {' AND '.join(where)}) GROUP BY term, period, slot{self._groups}"
        )

    def _period(self, column: str, table: str, parameters: Parameters) -> str:
        """In which window a row's time lies, or in which cut of the table: how many of the later have begun by then."""
        first, parts = 0, self.windows
        if self.overlap:
            first = next(i for i, piece in enumerate(self.pieces) if piece.table == table)
            parts = [piece.window for piece in self.pieces if piece.table == table]
        begun = [f"({column} >= {parameters.moment(part.start)})" for part in parts[1:]]
        return f"toInt64({' + '.join([str(first), *begun])})"

    def _of_projects(self, parameters: Parameters) -> str:
        names = [parameters.add(project, "String") for project in self.projects]
        return f"project = {names[0]}" if len(names) == 1 else f"project IN ({', '.join(names)})"

    @property
    def _owner(self) -> str:
        """The column that tells projects apart, where there are several."""
        return ", toString(project) AS owner" if len(self.projects) > 1 else ""

    @property
    def _groups(self) -> str:
        owner = ", owner" if len(self.projects) > 1 else ""
        return owner + "".join(f", g{i}" for i in range(len(self.question.by)))


def _cut(pieces: Sequence[Piece]) -> list[Piece]:
    """The same times of the same tables, cut where any piece of the table begins or ends; table by table, in order."""
    cut: list[Piece] = []
    for table in dict.fromkeys(piece.table for piece in pieces):
        those = [piece for piece in pieces if piece.table == table]
        edges = sorted({edge for piece in those for edge in (piece.window.start, piece.window.end)})
        between = [Piece(table, Window(start, end)) for start, end in pairwise(edges)]
        cut += [piece for piece in between if _reads(those, piece)]
    return cut


def _reads(pieces: Sequence[Piece], cut: Piece) -> bool:
    return any(
        piece.table == cut.table and piece.window.start <= cut.window.start and cut.window.end <= piece.window.end
        for piece in pieces
    )
