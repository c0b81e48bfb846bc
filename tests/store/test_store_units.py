"""What the store answers about units is what ``UnitsReader`` counts from the same events, whatever is asked."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import zstandard
from msgspec import structs
from tests.experiments.units_reader import UnitsReader
from tests.store.conftest import OpenSite, opener
from tests.store.week_of_events import own_metrics
from tests.support.soak import times
from tests.support.store_site import Site, at, queries

from barograph.core.event import Event, Exposure, Feedback, Query, Score
from barograph.core.metric import Measure
from barograph.core.query import Window
from barograph.core.units import MOST_VALUES, REST, PopulationQuery, UnitMoments, UnitQuery
from barograph.experiments.design import MOST_PAUSES
from barograph.store.archive_rollups import import_file
from barograph.store.units.retired import retired_notes
from barograph_client.errors import InvalidQuery

WINDOW = Window(at("2026-10-20 06:30"), at("2026-10-28 17:45"))
UNITS = 110
METRICS = (
    "response_time.mean", "queries", "cost", "error_rate", "satisfaction", "feedback", "low_rating_rate",
    "score.delta", "retrieval.empty_rate", "cost_a_token", "ratings_a_query",
)  # fmt: skip
CHANGES = (at("2026-10-22 12:00"), at("2026-10-24 00:00"))
SECOND = timedelta(seconds=1)
PAUSES = (
    (  # of some hours, to the microsecond; then over two midnights
        Window(at("2026-10-22 09:00"), at("2026-10-22 15:20:30.000001")),
        Window(at("2026-10-23 20:00"), at("2026-10-25 02:00")),
    ),
    (  # of whole days, and one that follows at once; then beyond the end
        Window(at("2026-10-21 00:00"), at("2026-10-23 00:00")),
        Window(at("2026-10-23 00:00"), at("2026-10-23 00:01")),
        Window(at("2026-10-26 04:00"), at("2026-10-30 00:00")),
    ),
    (Window(at("2026-10-18 00:00"), at("2026-10-20 11:00")), Window(at("2026-10-27 13:00"), at("2026-10-27 13:30"))),
)
EDGES = {7: CHANGES[1], 11: WINDOW.start, 12: at("2026-10-23 00:00")}  # first exposures to the microsecond, by unit


@pytest.fixture(scope="module")
def units(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with exposures of every sort and what their units did, before and after; nobody changes it."""
    open_it, opened = opener(tmp_path_factory.mktemp("units"), address)
    catalogue = own_metrics()
    of_two_kinds = structs.replace(
        catalogue.get("cost_a_token"), name="ratings_a_query", of=Measure("feedback", "rating")
    )
    catalogue.add(structs.replace(of_two_kinds, per=Measure("query")))
    site = open_it(catalogue=catalogue)
    site.append(events())
    site.store.flush()
    by_trace = {record["trace_id"]: record for record in site.recorded if record["kind"] == "query"}
    for record in site.recorded:  # what attribution finds out
        if record["kind"] in ("feedback", "score"):
            record.update({name: by_trace[record["trace_id"]].get(name, "") for name in ("user_id", "session_id")})
    yield site
    for one in opened:
        one.close()


def events() -> list[Event]:
    chance, numbers = random.Random(11), count()
    start, span = WINDOW.start, WINDOW.seconds

    def exposure(kind: str, unit: str, moment: datetime, arm: str, **more: Any) -> Exposure:
        return Exposure(
            event_id=f"x{next(numbers)}",
            time=moment,
            experiment="reranker",
            arm=arm,
            unit_kind=kind,
            unit_id=unit,
            **more,
        )

    found: list[Exposure] = []
    firsts: dict[str, datetime] = {}
    for n in range(UNITS):
        for kind, unit in (("user", f"user-{n}"), ("session", f"session-{n}"), ("tenant", f"tenant-{n % 9}")):
            first = start + timedelta(seconds=chance.uniform(*((0, 0.6) if kind == "tenant" else (-0.1, 1.05))) * span)
            if kind != "tenant" and n in EDGES:
                first = EDGES[n]
            arm = "abc"[(n if kind != "tenant" else n % 9) % 3]
            tags = {"country": f"land-{n if n < 90 else n % 5}", **({"plan": "paid"} if n % 3 else {})}
            found.append(exposure(kind, unit, first, arm, tags=tags))
            for _ in range(chance.randrange(3)):  # the same again, later
                later = first + timedelta(seconds=chance.random() * 3 * 86400)
                found.append(exposure(kind, unit, later, arm, tags={"country": "elsewhere"}))
            if n % 17 == 4 and (kind != "tenant" or n < 9):  # seen in two arms
                found.append(exposure(kind, unit, first + timedelta(hours=n), "a" if arm == "b" else "b"))
            if kind == "user":
                firsts[unit] = first
    found += [structs.replace(one, event_id=f"o-{one.event_id}", experiment="other", arm="c") for one in found[:40]]
    found += [structs.replace(one, event_id=f"b-{one.event_id}", project="beside") for one in found[40:80]]
    asked: list[Query] = []
    for project, first_number, many in (("default", 0, 1200), ("beside", 5000, 200)):
        made = queries(chance, many, start - timedelta(days=6), WINDOW.end + timedelta(days=1), first=first_number)
        for query in made:
            n = int(min(chance.expovariate(0.03), UNITS + 10))  # many of a few; the last users never ask
            tenant = {"tenant_id": f"tenant-{n % 12}", "tenant": "x"} if n % 2 else {"tenant": f"tenant-{n % 12}"}
            if n % 29 == 28:
                tenant = {}  # nobody's
            asked.append(
                structs.replace(
                    query,
                    user_id=f"user-{n}" if n % 10 else "",
                    session_id=f"session-{n}",
                    tags=tenant,
                    project=project,
                )
            )
    for n, (unit, first) in enumerate(firsts.items()):  # just before the exposure, at it, and a little longer before
        moment = first - timedelta(seconds=(5, 0, 15, 10)[n % 4])
        more = {"user_id": unit, "time": moment, "event_id": f"near-{n}", "trace_id": f"near-{n}"}
        if n % 3 == 0:
            asked.append(structs.replace(asked[n], project="default", **more))
    edges = sorted({edge for pauses in PAUSES for pause in pauses for edge in (pause.start, pause.end)})
    for n in range(6 * len(edges)):  # at the edges of pauses, and the instant before
        moment, unit = edges[n // 6] - (n % 2) * timedelta(microseconds=1), n % 6
        more = {"user_id": f"user-{unit}", "session_id": f"session-{unit}", "tags": {"tenant": f"tenant-{unit}"}}
        known = {"event_id": f"edge-{n}", "trace_id": f"edge-{n}", "time": moment, "project": "default"}
        asked.append(structs.replace(asked[n], **more, **known))
    answers: list[Event] = []
    for n, query in enumerate(asked):
        known: dict[str, Any] = {"trace_id": query.trace_id, "project": query.project, "tags": query.tags}
        moment = query.time + timedelta(minutes=n % 50)
        if n % 3 == 0:
            answers.append(Feedback(event_id=f"f{n}", time=moment, rating=1.0 + n % 5 if n % 4 else None, **known))
        if n % 4 == 0:
            name = "delta" if n % 8 else "other"
            answers.append(Score(event_id=f"s{n}", time=moment, name=name, value=chance.uniform(-1, 1), **known))
    return [*found, *asked, *answers]


def reader(site: Site) -> UnitsReader:
    return UnitsReader(site.recorded, site.clock.now, site.catalogue)


def assert_same_moments(found: UnitMoments, expected: UnitMoments) -> None:
    for name in UnitMoments.__struct_fields__:
        mine, theirs = getattr(found, name), getattr(expected, name)
        if name == "pre" and theirs is not None:
            assert mine is not None
            assert (mine.numerator_mean, mine.denominator_mean, *mine.products) == pytest.approx(
                (theirs.numerator_mean, theirs.denominator_mean, *theirs.products), rel=1e-9, abs=1e-9
            )
        elif isinstance(theirs, float | tuple):
            assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-9), name
        else:
            assert mine == theirs, name


def questions(many: int, kinds: tuple[str, ...] = ("user", "user", "session")) -> Iterator[UnitQuery]:
    chance = random.Random(5)
    midnight = Window(at("2026-10-21 00:00"), at("2026-10-27 00:00"))
    for n in range(many):
        by = ("", "", "day", "age", "tag.country", "tag.plan")[n % 6]
        yield UnitQuery(
            experiment="reranker",
            metric=METRICS[n % len(METRICS)],
            window=chance.choice((WINDOW, WINDOW, midnight, Window(WINDOW.start, WINDOW.start + timedelta(hours=9)))),
            unit_kind=chance.choice(kinds),
            project=chance.choice(("default", "default", "default", "beside", "nobody's")),
            by=by,
            attribution_days=chance.choice((None, 2.0, 0.3, 3.77)),
            pre_days=0 if by == "age" else chance.choice((0, 1, 4)),
            cap=None if by == "age" else chance.choice((None, 0.9, 0.5)),
            changed_at=chance.choice(((), CHANGES, CHANGES[:1])),
            pauses=chance.choice(((), *PAUSES)),
        )


def compare(site: Site, question: UnitQuery) -> int:
    """Hold the store's answer against the events; how many groups there are."""
    found, expected = site.store.units(question), reader(site).units(question)
    places = [(one.arm, one.period, one.group) for one in found.arms]
    told = {(one.arm, one.period, one.group): one for one in expected.arms}
    assert sorted(places) == sorted(told), question
    for one, place in zip(found.arms, places, strict=True):
        assert_same_moments(one, told[place])
    for name in ("contaminated", "first_exposure", "last_exposure"):
        assert getattr(found, name) == getattr(expected, name), (name, question)
    assert found.cap == pytest.approx(expected.cap), question
    return len(places)


class TestMoments:
    def test_every_question_is_answered_as_its_events_say(self, units: Site) -> None:
        assert sum(compare(units, question) for question in questions(times(24, 400))) > 150

    def test_tenants_are_known_by_a_tag_of_that_name(self, units: Site) -> None:
        assert sum(compare(units, question) for question in questions(times(6, 60), kinds=("tenant",))) > 15

    @pytest.mark.parametrize("pauses", PAUSES)
    def test_what_was_done_in_a_pause_does_not_count(self, units: Site, pauses: tuple[Window, ...]) -> None:
        question = UnitQuery(experiment="reranker", metric="queries", window=WINDOW, pre_days=2, pauses=pauses)
        for asked in (question, structs.replace(question, unit_kind="tenant", attribution_days=1.9)):
            compare(units, asked)
            compare(units, structs.replace(asked, by="age", pre_days=0, changed_at=CHANGES))
        whole = units.store.units(structs.replace(question, pauses=()))
        for one, other in zip(units.store.units(question).arms, whole.arms, strict=True):
            assert one.units == other.units
            assert one.unit_days < other.unit_days
            assert one.numerator_mean < other.numerator_mean

    def test_as_many_pauses_as_an_experiment_may_have_are_left_out(self, units: Site) -> None:
        starts = [WINDOW.start + n / MOST_PAUSES * WINDOW.seconds * SECOND for n in range(MOST_PAUSES)]
        pauses = tuple(Window(start, start + timedelta(minutes=50)) for start in starts)
        compare(units, UnitQuery(experiment="reranker", metric="queries", window=WINDOW, by="age", pauses=pauses))

    def test_a_tag_with_many_values_is_bounded_and_says_so(self, units: Site) -> None:
        answer = units.store.units(UnitQuery(experiment="reranker", metric="queries", window=WINDOW, by="tag.country"))
        groups = {arm.group for arm in answer.arms}
        assert len(groups) == MOST_VALUES + 1
        assert REST in groups
        assert any("tag.country has" in note for note in answer.notes)
        plan = units.store.units(UnitQuery(experiment="reranker", metric="queries", window=WINDOW, by="tag.plan"))
        assert {arm.group for arm in plan.arms} == {"", "paid"}
        assert not any("tag.plan" in note for note in plan.notes)

    def test_units_that_came_just_before_their_exposure_are_told(self, units: Site) -> None:
        answer = units.store.units(UnitQuery(experiment="reranker", metric="queries", window=WINDOW))
        early, lately, ever = (
            sum(getattr(one, name) for one in answer.arms) for name in ("just_before", "hour_before", "any_before")
        )
        assert 5 < early < lately < ever < sum(one.units for one in answer.arms)
        (note,) = (note for note in answer.notes if "before their exposure" in note)
        assert note.startswith(f"{early} of")

    def test_values_near_1e12_keep_their_spread(self, open_site: OpenSite) -> None:
        site = open_site(database="large_values")
        names, later = [f"user-{n}" for n in range(40)], WINDOW.start + timedelta(days=1)
        exposed = [
            Exposure(event_id=f"x-{name}", time=WINDOW.start, experiment="reranker", arm="a", unit_id=name)
            for name in names
        ]
        scores = [
            Score(event_id=f"s-{name}-{metric}", time=later, name=metric, value=value, user_id=name)
            for n, name in enumerate(names)
            for metric, value in (("large", 1e12 + n), ("huge", 1e200 * (n % 2)))
        ]
        site.append([*exposed, *scores])
        site.store.flush()
        question = UnitQuery(experiment="reranker", metric="score.large", window=WINDOW)
        (arm,) = site.store.units(question).arms
        assert arm.numerator_mean == 1e12 + 19.5
        assert arm.numerator_m2 == pytest.approx(sum((n - 19.5) ** 2 for n in range(40)), rel=1e-5)
        assert arm.own_m2 == pytest.approx(arm.numerator_m2, rel=1e-5)
        with pytest.raises(InvalidQuery, match="too large"):
            site.store.units(structs.replace(question, metric="score.huge"))

    @pytest.mark.parametrize(
        "change",
        [
            {"metric": "response_time.p95"},
            {"metric": "system.cpu"},
            {"by": "model"},
            {"by": "tag."},
            {"attribution_days": 0.0},
            {"attribution_days": float("inf")},
            {"pre_days": -1},
            {"cap": 1.0},
            {"by": "age", "cap": 0.9},
            {"by": "age", "pre_days": 3},
            {"pauses": PAUSES[0][::-1]},
            {"pauses": (PAUSES[0][0], PAUSES[0][0])},
        ],
    )
    def test_what_cannot_be_asked_is_refused(self, units: Site, change: dict[str, Any]) -> None:
        question = UnitQuery(**{"experiment": "reranker", "metric": "queries", "window": WINDOW, **change})
        with pytest.raises(InvalidQuery):
            units.store.units(question)


class TestValues:
    @pytest.mark.parametrize("metric", ["satisfaction", "cost"])
    def test_all_units_are_told_where_they_are_few(self, units: Site, metric: str) -> None:
        question = UnitQuery(experiment="reranker", metric=metric, window=WINDOW, attribution_days=2.0)
        found, expected = units.store.unit_values(question, 10**6), reader(units).unit_values(question, 10**6)
        assert [(one.arm, one.units) for one in found] == [(one.arm, one.units) for one in expected]
        for mine, theirs in zip(found, expected, strict=True):
            pairs = sorted(zip(mine.numerators, mine.denominators, strict=True))
            assert pairs == [
                pytest.approx(pair) for pair in sorted(zip(theirs.numerators, theirs.denominators, strict=True))
            ]

    def test_of_many_units_the_same_sample_is_told_each_time(self, units: Site) -> None:
        question = UnitQuery(experiment="reranker", metric="cost", window=WINDOW)
        everyone = {one.arm: one for one in units.store.unit_values(question, 10**6)}
        sample = units.store.unit_values(question, 40)
        for one, again in zip(sample, units.store.unit_values(question, 40), strict=True):
            assert (one.arm, one.units) == (again.arm, again.units)
            assert sorted(one.numerators) == pytest.approx(sorted(again.numerators))
        assert 20 <= sum(len(one.numerators) for one in sample) <= 60
        for one in sample:
            assert one.units == everyone[one.arm].units
            known = [round(number, 9) for number in everyone[one.arm].numerators]
            assert {round(number, 9) for number in one.numerators} <= set(known)
        assert [one.units for one in units.store.unit_values(question, 1)] == [one.units for one in sample]


class TestPopulation:
    @pytest.mark.parametrize("metric", METRICS)
    def test_everybody_who_was_active_is_counted(self, units: Site, metric: str) -> None:
        kinds = {"cost": "session", "satisfaction": "tenant", "queries": "tenant"}
        for window in (WINDOW, Window(at("2026-10-21 00:00"), at("2026-10-23 00:00"))):
            question = PopulationQuery(metric=metric, window=window, unit_kind=kinds.get(metric, "user"))
            found, expected = units.store.population(question), reader(units).population(question)
            assert found.distinct_units == expected.distinct_units
            assert len(found.distinct_units) == (9 if window is WINDOW else 2)
            assert_same_moments(found.moments, expected.moments)

    def test_nobody_is_no_error(self, units: Site) -> None:
        answer = units.store.population(PopulationQuery(metric="queries", window=WINDOW, project="nobody's"))
        assert (answer.moments.units, set(answer.distinct_units)) == (0, {0})


def test_what_an_answer_misses_of_retired_events_is_said() -> None:
    question = UnitQuery(experiment="reranker", metric="queries", window=WINDOW)
    population = PopulationQuery(metric="queries", window=WINDOW)
    last = WINDOW.start.date()
    assert retired_notes(question, None) == retired_notes(question, last - timedelta(days=1)) == ()
    paused = structs.replace(question, pauses=PAUSES[0])
    assert "pause" not in retired_notes(paused, PAUSES[0][0].start.date() - timedelta(days=1))[0]
    assert "and on days with a pause" in retired_notes(paused, PAUSES[0][0].start.date())[0]
    assert retired_notes(population, last) == ()  # whole days are in the rollup
    (note,) = retired_notes(structs.replace(question, by="tag.plan", attribution_days=2.0), last)
    for missing in ("the day of its exposure", "its attribution ends", "has no tag"):
        assert missing in note
    for asked in (structs.replace(question, unit_kind="tenant"), structs.replace(population, unit_kind="tenant")):
        assert "what a tenant did is read from these alone" in retired_notes(asked, last)[0]


def test_days_retired_by_an_earlier_version_are_still_counted(open_site: OpenSite, tmp_path: Path) -> None:
    """Their exports are of other tables: a map of measures a unit and day, and units by their ids."""
    site = open_site(database="earlier_version")
    site.store.flush()
    engine, days = site.store._engine, ("2026-10-21", "2026-10-22")
    sums = (
        "SELECT 'default' AS project, 'user' AS unit_kind, {experiment} AS experiment, '' AS arm, 'user-1' AS unit_id, "
        "toDate('{day}') AS day, '{kind}' AS kind, toDate('{day}') AS arrived, map({n}) AS n, map({total}) AS total"
    )
    query = {"kind": "query", "n": "'', 3, 'response_time', 2", "total": "'response_time', 4.5"}
    score = {"kind": "score", "n": "'', 2, 'faithfulness', 1", "total": "'faithfulness', 0.5"}
    exports = [
        (
            "exposure", "first_exposure",
            "SELECT 'default' AS project, 'reranker' AS experiment, 'user' AS unit_kind, 'user-1' AS unit_id, "
            "toDate('2026-10-20') AS arrived, toDateTime64('2026-10-20 10:00:00', 6, 'UTC') AS first, "
            "'a' AS least_arm, 'a' AS most_arm",
        ),
        *(
            (
                kind["kind"], "unit_1d",
                " UNION ALL ".join(sums.format(day=day, experiment=name, **kind) for name in ("''", "'x'")),
            )
            for day in days
            for kind in (query, score)
        ),
    ]  # fmt: skip
    for number, (kind, table, rows) in enumerate(exports):
        path = tmp_path / f"{number}.native.zst"
        path.write_bytes(zstandard.compress(engine.select_bytes(rows, "Native")))
        for _ in range(2):  # again, as after a crash
            import_file(engine, date(2026, 10, 20 + number), kind, table, path)
    expected = {"response_time.mean": (9.0, 4.0), "queries": (6.0, 6.0), "score.faithfulness": (1.0, 2.0)}
    for metric, sums_of_it in expected.items():
        (arm,) = site.store.units(UnitQuery(experiment="reranker", metric=metric, window=WINDOW)).arms
        assert (arm.arm, arm.numerator_mean, arm.denominator_mean) == ("a", *sums_of_it)
    question = UnitQuery(experiment="reranker", metric="queries", window=WINDOW)
    evening = (Window(at("2026-10-20 18:00"), at("2026-10-21 00:00")), Window(at("2026-10-22 23:00"), WINDOW.end))
    (arm,) = site.store.units(structs.replace(question, pauses=evening)).arms
    assert arm.numerator_mean == 3.0  # of the second day, which has a pause, the raw rows are gone
    later = Exposure(
        event_id="later", time=at("2026-10-22 09:00"), experiment="reranker", arm="a", unit_kind="user",
        unit_id="user-1", tags={"plan": "paid"},
    )  # fmt: skip
    site.append([later])
    site.store.flush()
    (arm,) = site.store.units(UnitQuery(experiment="reranker", metric="queries", window=WINDOW, by="tag.plan")).arms
    assert (arm.units, arm.group) == (1, "")  # the tag of the first exposure is gone with it
