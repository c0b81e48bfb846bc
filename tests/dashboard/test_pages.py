"""Pages: what each says, on what it rests, and that no data, no width and no charset breaks it.

After a wanted change: ``python -m tests.dashboard.test_pages`` writes the golden files again; look at the difference.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.dashboard.drawn import HOSTILE, check_harmless, plain, text_of
from tests.dashboard.rag_house import BUDGET, NOW, SLOW, VECTORS, House, busy_week
from tests.support.dictionary_reader import Record
from tests.support.rag_events import spread
from wcwidth import wcswidth

from barograph.alerts.alert import Alert
from barograph.alerts.routing.silences import create_silence
from barograph.analytics.status import Facts
from barograph.core.query import MetricQuery, Window
from barograph.core.settings import BudgetSettings, RuleSettings
from barograph.dashboard.delivery import Delivery
from barograph.dashboard.material import Material
from barograph.dashboard.pages import PAGES, build_page, page_named
from barograph.dashboard.report import build_report
from barograph.visualize.charset import CHARSETS, CharsetName
from barograph.visualize.chart import Page
from barograph_client.errors import EngineUnavailable, InvalidQuery, QueryTooExpensive

GOLDEN = Path(__file__).parent / "golden"
DOCS = Path(__file__).resolve().parents[2] / "docs"
NAMES = tuple(spec.name for spec in PAGES)
DRAWN: tuple[CharsetName, ...] = ("ascii", "unicode")

Build = Callable[..., House]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Houses, each in a directory of its own, closed at the end."""
    made: list[House] = []
    numbers = count()

    def make(*arguments: object, **settings: object) -> House:
        directory = tmp_path / str(next(numbers))
        directory.mkdir()
        made.append(House(directory, *arguments, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for house in made:
        house.close()


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The busy week that the golden files show; tests only read it."""
    house = busy_house(tmp_path_factory.mktemp("week"))
    yield house
    house.close()


def busy_house(directory: Path) -> House:
    house = House(directory, busy_week(), budget=BUDGET)
    house.events += [
        *fired(hours_ago=52, minutes=47, value=8.31),
        *fired(hours_ago=50.5, minutes=12, value=6.02),
        *fired(hours_ago=99, minutes=8, value=0.25, rule="errors", metric="error_rate", labels={"model": "large-2"}),
    ]
    house.run_experiment()
    house.alerts.check()
    return house


def fired(hours_ago: float, minutes: float, **fields: object) -> list[Record]:
    """An alert that fired and, after so many minutes, was resolved, as its events tell it; 0: it still fires."""
    begin = NOW - timedelta(hours=hours_ago)
    alert: Record = {"kind": "alert", "rule": "slow responses", "metric": "response_time.p95", "threshold": 5.0,
                     "severity": "critical", "labels": {}, **fields}  # fmt: skip
    name = f"{alert['rule']}-{hours_ago}"
    events: list[Record] = [{**alert, "event_id": f"{name}-a", "time": begin, "state": "firing", "previous": "pending",
                             "message": "ALERT: it fired"}]  # fmt: skip
    if minutes:
        events.append({**alert, "event_id": f"{name}-b", "time": begin + timedelta(minutes=minutes), "value": None,
                       "state": "resolved", "previous": "firing", "message": "RESOLVED: it is over"})  # fmt: skip
    return events


def page_of(material: Material, name: str) -> Page:
    return build_report(material, 168) if name == "report" else build_page(name, material)


def queries(number: int, hours_ago: float, hours: float, **fields: object) -> list[Record]:
    return spread(
        "query",
        number,
        NOW - timedelta(hours=hours_ago),
        hours,
        **{"response_time": 1.0, "user_id": lambda i: f"u{i}", **fields},
    )


# what the overview says


def test_the_first_lines_read_as_the_design_promises(build: Build) -> None:
    """DESIGN section 2, number for number, from events that amount to them."""
    today, yesterday = (NOW - timedelta(hours=h) for h in (13, 37))
    times = [2.9] * 12 + [7.2]
    rest = (1.2 * 250 - sum(times)) / 237
    events = spread("query", 249, today, 12.9, response_time=lambda i: times[i] if i < 12 else rest,
                    cost=15.32 / 250, status=lambda i: "error" if i == 100 else "ok")  # fmt: skip
    events += spread("query", 1, NOW - timedelta(minutes=1), 0.01, response_time=7.2, cost=15.32 / 250)
    events += spread("query", 250, yesterday, 12, response_time=1.2 / 0.95, cost=0.06)
    events += spread("feedback", 318, NOW - timedelta(days=6.9), 24 * 6.9, rating=lambda i: 4.0 + 0.4 * (i % 2),
                     user_id=lambda i: f"u{i // 2 % 3}-{i}")  # fmt: skip
    events += spread("feedback", 200, NOW - timedelta(days=13), 24, rating=4.2 / 1.02)
    rule = structs.replace(SLOW, metric="response_time.mean", severity="info")
    house = build(events, budget=BUDGET, rules=(rule,))
    start_experiment(house, days=2.6, planned=6.5)
    house.alerts.check()
    lines = text_of(build_page("overview", house.material()), width=100).splitlines()[:6]
    assert [plain(line) for line in lines] == [
        "System Status: HEALTHY 2026-11-24 14:05 UTC · data complete to 14:04:58",
        "Average Response Time: 1.2 s (↓5% from yesterday) p95 2.9 s errors 0.4 %",
        "User Satisfaction: 4.2/5.0 (↑2% from last week) n=318",
        "Daily Cost: $15.32 (within budget $40.00)",
        "Active A/B Test: Vector DB comparison (50/50 split) day 3, needs about 4 more",
        "ALERT: Response time exceeded 5 s threshold (current: 7.2 s)",
    ]


def start_experiment(house: House, days: float, planned: float) -> None:
    """Expose everybody who has rated since the start, at the moment of the start."""
    now = house.clock.now()
    house.clock.step(-days * 86400)
    house.experiments.create(structs.replace(VECTORS, planned_days=planned))
    house.experiments.start(VECTORS.key)
    for user in {str(e["user_id"]) for e in list(house.events) if e.get("user_id")}:
        house.experiments.expose(VECTORS.key, user)
    house.clock.step((now - house.clock.now()).total_seconds())


def test_a_status_that_is_not_healthy_has_its_reasons_under_it(build: Build) -> None:
    house = build(queries(60, 0.2, 0.19, status=lambda i: "error" if i % 2 else "ok"))
    lines = text_of(
        build_page("overview", house.material(facts=Facts(low_disk=True, free_bytes=9_000_000)))
    ).splitlines()
    assert lines[0].startswith("System Status: CRITICAL")
    assert lines[1].startswith("– Error rate 50 % over 60 queries in the last 15 min, above the critical limit")
    assert "– The disk of the data directory has only 9 MB free." in lines[:5]


def test_a_day_without_queries_still_shows_the_week(build: Build) -> None:
    house = build(queries(300, 100, 48))
    text = text_of(build_page("overview", house.material()))
    assert "Average Response Time: –" in text
    assert "no query in the last 24 h, the last one was at 2026-11-22 09:55" in plain(text)
    assert "Queries an hour" in text
    assert "n=300" in text
    assert "$0.00" not in text


def test_fields_that_were_modelled_are_named_and_measured_ones_are_not(build: Build) -> None:
    measured = queries(20, 30, 1)
    house = build([*measured, *queries(20, 2, 1, modelled=["response_time", "user_id"])])
    assert "Modelled, not measured: response_time, user_id." in text_of(build_page("overview", house.material()))
    assert "Modelled" not in text_of(build_page("overview", build(measured).material()))


@pytest.mark.parametrize(
    ("cost", "budget", "said"),
    [
        (1.0, None, r"Daily Cost: \$30\.00 \(no budget set\)"),
        (1.0, 20.0, r"Daily Cost: \$30\.00 \(over budget \$20\.00\)"),
        (1.0, 40.0, r"Daily Cost: \$30\.00 \(within budget \$40\.00 so far\) +heading for \$51\.12"),
        (None, 40.0, r"Daily Cost: – \(no priced query today\) +30 of 30 queries have no price"),
    ],
)
def test_the_cost_line_says_where_the_day_stands(
    build: Build, cost: float | None, budget: float | None, said: str
) -> None:
    house = build(queries(30, 2, 1, cost=cost), budget=BudgetSettings(daily=budget))
    assert re.search(said, text_of(build_page("overview", house.material())))


def test_more_alerts_than_fit_are_counted(build: Build) -> None:
    rule = RuleSettings(name="slow", metric="response_time.mean", above=0.5, window="1h", by=("user_id",))
    house = build(queries(12, 0.5, 0.4), rules=(rule,))
    house.alerts.check()
    text = text_of(build_page("overview", house.material()))
    assert text.count("ALERT: ") == 8
    assert "4 more active" in text


def test_amounts_are_not_compared_with_a_time_before_the_records(build: Build) -> None:
    """A week after the first day everything would be up by hundreds of per cent; a mean may still be compared."""
    house = build([*queries(50, 30, 2), *queries(500, 20, 19)])
    text = text_of(build_page("queries", house.material()))
    assert re.search(r"^Queries: 500$", text, re.MULTILINE)
    assert re.search(r"^Average response time: 1 s \(unchanged from yesterday\)", text, re.MULTILINE)
    longer = build([*queries(10, 90, 2), *queries(50, 30, 2), *queries(500, 20, 19)])
    assert "Queries: 500 (↑900% from yesterday)" in text_of(build_page("queries", longer.material()))


def test_a_page_asks_few_questions_however_much_there_is(week: House) -> None:
    for name in (*NAMES, "report"):
        week.reader.questions = 0
        page_of(week.material(), name)
        assert 0 < week.reader.questions <= 40 or name == "alerts", name


def test_one_question_that_is_too_dear_does_not_take_the_page_along(build: Build) -> None:
    house = build(queries(50, 30, 29, cost=0.1))

    def refuse(question: MetricQuery) -> None:
        if question.every == "day":
            raise QueryTooExpensive("the question passed its time limit", hint="Ask for less.")

    house.reader.before = refuse
    text = plain(text_of(build_page("overview", house.material())))
    assert "Not answered: the question passed its time limit. Ask for less." in text
    assert "Slowest queries" in text


def test_an_engine_that_is_away_is_an_error_not_an_empty_page(build: Build) -> None:
    house = build(queries(50, 30, 29))

    def refuse(question: MetricQuery) -> None:
        raise EngineUnavailable("the engine does not answer")

    house.reader.before = refuse
    with pytest.raises(EngineUnavailable):
        build_page("overview", house.material())


# every page


@pytest.mark.parametrize("name", [*NAMES, "report"])
@pytest.mark.parametrize("charset", DRAWN)
def test_pages_look_as_they_did(week: House, name: str, charset: CharsetName) -> None:
    drawn = text_of(page_of(week.material(), name), charset) + "\n"
    assert drawn == (GOLDEN / f"{name}-{charset}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*NAMES, "report"])
def test_pages_fit_every_screen_in_every_charset(week: House, name: str) -> None:
    page = page_of(week.material(), name)
    for charset in CHARSETS:
        for width in (40, 80, 120):
            text = text_of(page, charset, width)
            assert max(wcswidth(line) for line in text.splitlines()) <= width
            if charset == "ascii":
                assert text.isascii()


@pytest.mark.parametrize("name", [*NAMES, "report"])
def test_an_empty_directory_gets_a_next_step_and_never_zeros(build: Build, name: str) -> None:
    text = text_of(page_of(build().material(account={}), name))
    steps = {"experiments": "experiments.create", "alerts": "No alert is active", "system": "sampler_seconds"}
    assert steps.get(name, "barograph record") in text
    assert not re.search(r"(?<![\d.])0(\.0+)? ?(s|%|/5)|\$0", text)


@pytest.mark.parametrize("name", ["queries", "quality", "retrieval", "users", "report"])
def test_an_empty_window_says_when_there_was_something(build: Build, name: str) -> None:
    events = busy_week(days=2, a_day=60)
    house = build(events)
    house.clock.step(30 * 86400)
    text = text_of(page_of(house.material(), name))
    assert "ask for a longer time" in text
    assert "2026-11-24 1" in text


@pytest.mark.parametrize("name", [*NAMES, "report"])
@pytest.mark.parametrize("width", [40, 80])
def test_texts_of_users_cannot_act_on_any_page(build: Build, name: str, width: int) -> None:
    house = build(hostile_week(), budget=BUDGET)
    page = page_of(house.material(health=(HOSTILE,)), name)
    for charset in CHARSETS:
        check_harmless(page, charset, width)


def hostile_week() -> list[Record]:
    """A busy week in which every text is an attack."""
    texts = ("query", "user_id", "model", "pipeline", "error_type", "error_message", "comment", "title", "name", "host",
             "rule", "message", "session_id")  # fmt: skip
    found: list[Record] = []
    for event in busy_week(days=3, a_day=80):
        event = {name: HOSTILE if name in texts else value for name, value in event.items()}
        if isinstance(event.get("documents"), list):
            event["documents"] = [{**document, "id": HOSTILE, "source": HOSTILE} for document in event["documents"]]  # type: ignore[attr-defined]
        found.append(event)
    found.append({"kind": "alert", "event_id": "x", "time": NOW, "rule": HOSTILE, "state": "firing",
                  "previous": HOSTILE, "metric": HOSTILE, "value": 1.0, "message": HOSTILE})  # fmt: skip
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_page_looks_at_the_window_that_is_asked_for(week: House, name: str) -> None:
    window = Window(NOW - timedelta(days=4), NOW - timedelta(days=3))
    text = text_of(build_page(name, week.material(), window))
    assert "2026-11-20 14:05 to 2026-11-21 14:05 UTC" in text or name == "experiments"


@pytest.mark.parametrize("name", [*NAMES, "report"])
@pytest.mark.parametrize("hours", [0.2, 3, 24 * 40, 24 * 300])
def test_any_length_of_window_can_be_drawn(week: House, name: str, hours: float) -> None:
    material = week.material()
    page = (
        build_report(material, hours) if name == "report" else build_page(name, material, material.recent(hours * 3600))
    )
    assert text_of(page)


def test_days_and_times_are_those_of_the_zone_of_the_settings(build: Build) -> None:
    house = build(queries(200, 60, 59, cost=0.1), timezone="Asia/Kathmandu")
    text = text_of(build_page("overview", house.material()), timezone="Asia/Kathmandu")
    assert "2026-11-24 19:50 +0545 · data complete to 19:49:58" in text
    assert "by day · Asia/Kathmandu" in text


def test_a_bar_of_a_week_that_the_window_cuts_says_so(build: Build) -> None:
    house = build(spread("query", 400, NOW - timedelta(days=50), 24 * 49.9, cost=0.1))
    material = house.material()
    text = plain(text_of(build_page("cost", material, material.recent("45d"))))
    assert "by week · UTC · first one in part, last one so far" in text
    assert "first one in part" not in text_of(build_page("cost", material))


def test_every_page_is_documented_with_its_question_and_its_time() -> None:
    text = (DOCS / "pages.md").read_text(encoding="utf-8")
    for spec in PAGES:
        assert f"| [`{spec.name}`](#{spec.name}) | {spec.question} | {spec.span} |" in text
        assert f"\n## {spec.name}\n" in text
    assert len(re.findall(r"^\| \[`", text, re.MULTILINE)) == len(PAGES)


def test_an_unknown_page_is_refused_with_those_that_there_are(build: Build) -> None:
    with pytest.raises(InvalidQuery) as refused:
        build_page("qualty\x1b", build().material())
    assert "Did you mean quality?" in refused.value.hint
    assert all(name in refused.value.hint for name in NAMES)
    assert "\x1b" not in str(refused.value)
    assert page_named("cost").title == "Cost"


# what single pages say


def test_low_ratings_stand_beside_the_question_they_are_about(build: Build) -> None:
    asked = {"kind": "query", "event_id": "q", "trace_id": "t", "time": NOW - timedelta(hours=2), "query": "Where?"}
    said = {"kind": "feedback", "event_id": "f", "trace_id": "t", "time": NOW - timedelta(hours=1), "rating": 1.0,
            "comment": "not what I asked"}  # fmt: skip
    text = text_of(build_page("quality", build([asked, said]).material()))
    assert re.search(r"11-24 13:05 +1  not what I asked  Where\?", text)


def test_documents_that_no_answer_cites_are_listed_only_where_citing_is_known(build: Build) -> None:
    def with_documents(cited: object) -> list[Record]:
        documents = [
            {"id": "used", "score": 0.9, "cited": cited and True},
            {"id": "dead", "score": 0.8, "cited": cited and False},
        ]
        return queries(5, 3, 2, documents=documents, document_count=2)

    text = text_of(build_page("retrieval", build(with_documents(True)).material()))
    assert re.search(r"Retrieved, never cited.*\n.*\n.*\ndead +5 +100", text)
    assert "used" not in text.split("never cited", 1)[1]
    unknown = text_of(build_page("retrieval", build(with_documents(None)).material()))
    assert "never cited" not in unknown
    assert "Nothing says which documents were cited" in unknown


def test_queries_that_say_nothing_of_documents_are_told_how_to_record_them(build: Build) -> None:
    text = plain(text_of(build_page("retrieval", build(queries(5, 3, 2)).material())))
    assert "No queries with documents have been recorded yet." in text
    assert '"documents": [{"id": "d1"}]' in text
    older = build([*queries(5, 3, 2), *queries(1, 24 * 20, 1, documents=[{"id": "d"}], document_count=1)])
    text = plain(text_of(build_page("retrieval", older.material())))
    assert "There are no queries with documents in the last 7 d. The newest is of 2026-11-04" in text


def test_queries_without_a_price_are_told_with_their_model(build: Build) -> None:
    house = build([*queries(10, 3, 1, cost=0.5, model="known"), *queries(5, 3, 1, model="mystery")])
    text = plain(text_of(build_page("cost", house.material())))
    assert "5 of 15 queries have no price (mystery: 5): the true cost is higher." in text


def test_a_sample_ratio_mismatch_is_said_before_anything_else(build: Build) -> None:
    house = build(busy_week(days=3))
    house.run_experiment(days=2)
    for i in range(400):
        exposure = {"event_id": f"x{i}", "experiment": VECTORS.key, "arm": "new", "unit_id": f"x-{i}"}
        house.events.append({"kind": "exposure", "time": NOW - timedelta(hours=5), "unit_kind": "user", **exposure})
    text = plain(text_of(build_page("experiments", house.material())))
    assert "Sample ratio: mismatch (old " in text
    assert "Not valid: the arms did not get their shares of users" in text
    assert "arms out of balance" in text_of(build_page("overview", house.material()))
    assert "▲ better" not in text


def test_alerts_tell_what_is_firing_since_when_and_what_has_happened(build: Build) -> None:
    house = build(queries(30, 0.05, 0.04, response_time=8.0))
    house.alerts.check()
    text = text_of(build_page("alerts", house.material()), width=120)
    assert re.search(
        r"FIRING slow responses: Response time p95 exceeded 5 s threshold \(current: 8 s\)\n"
        r"[0-9a-f]{16}  since 2026-11-24 14:05:00  critical",
        text,
    )
    assert re.search(r"slow responses +firing +8 s +critical +response_time.p95 above 5 s over 5 min", text)
    assert re.search(r"11-24 14:05 +slow responses +ok → firing +8 s", text)


def test_many_alerts_of_a_rule_are_a_table_of_the_worst_and_its_ratio_is_a_share(build: Build) -> None:
    rule = RuleSettings(name="rated", kind="ratio", metric="feedback", per="queries", above=0.01, window="1h",
                        by=("user_id",), severity="info")  # fmt: skip
    house = build(queries(12, 0.5, 0.4), rules=(rule,))
    house.events += [{"kind": "feedback", "time": NOW - timedelta(minutes=9), "user_id": one["user_id"], "rating": 5}
                     for one in house.events if one["kind"] == "query"]  # fmt: skip
    house.alerts.check()
    text = text_of(build_page("alerts", house.material()), width=100)
    assert re.search(r"rated: \d+ fire  the worst 5, info", text)
    assert len(re.findall(r"^[0-9a-f]{16}  11-24 14:05 +\d+ %  user_id=", text, re.MULTILINE)) == 5
    assert re.search(r"ok → firing +\d+ %", text)


def test_rules_without_a_judgement_say_why_once_and_how_many_more_there_are_and_which_are_off(build: Build) -> None:
    def named(name: str, metric: str, **more: Any) -> RuleSettings:
        return RuleSettings(name=name, metric=metric, above=0.5, **more)

    rules = (
        named("slower", "response_time.mean", kind="change", compare="day"),
        named("dearer", "cost", kind="change", compare="day"),
        RuleSettings(name="odd", kind="anomaly", metric="cost", window="1h"),
        named("few", "error_rate", minimum=9_000),
        named("own", "low_rating_rate"),
        named("not now", "error_rate", enabled=False),
    )
    house = build(queries(30, 0.05, 0.04, response_time=8.0, cost=0.1), rules=rules, default_rules=False)
    house.alerts.check()
    note = plain(text_of(build_page("alerts", house.material()), width=200)).split("Condition")[1]
    assert "slower, dearer: nothing to compare: no data now, or none but zero in the day before;" in note
    assert "odd: nothing was measured in the last point of 60 min that is over;" in note
    assert "few: 30 events in the window, 9000 are needed; and 1 more, for other reasons" in note
    assert "switched off: not now" in note


def test_incidents_tell_how_soon_they_were_over_and_which_queries_stand_behind_the_newest(build: Build) -> None:
    slow = RuleSettings(name="slow responses", metric="response_time.p95", above=5.0, window="10m", for_="5m",
                        where=("pipeline:eq:sales-qa",), by=("model",))  # fmt: skip
    failing = RuleSettings(name="errors", metric="error_rate", above=0.1)
    asked = queries(
        8, 10.2, 0.2, pipeline=lambda i: "sales-qa" if i else "support-bot",
        model=lambda i: "small" if i == 1 else "large", response_time=lambda i: 20.0 - i,
        trace_id=lambda i: f"trace-{i}", query=lambda i: f"question {i}",
    )  # fmt: skip
    failed = queries(2, 3.1, 0.1, status="error", error_type="TimeoutError", trace_id=lambda i: f"failed-{i}")
    outside = queries(1, 20, 1, response_time=99.0, pipeline="sales-qa", model="large")
    house = build([*asked, *failed, *outside], rules=(slow, failing))
    house.events += [
        *fired(10, 6, labels={"model": "large"}, value=8.0),
        *fired(30, 24, labels={"model": "small"}, value=7.0),
        *fired(3, 0, rule="errors", metric="error_rate", value=0.5),
    ]
    text = plain(text_of(build_page("alerts", house.material()), width=120))
    table = text.split("Incidents last 7 d", 1)[1]
    assert re.search(r"11-24 11:05 errors 3 h, open 50 % all 11-24 04:05 slow responses 6 min 8 s model large", table)
    assert "mean time to resolve 15 min (2 resolved, 1 open not counted)" in table
    assert re.search(r"errors 1 1 (–|no data) (–|no data) ", table)
    assert "slow responses 2 0 15 min 30 min" in table
    assert re.search(r"Newest errors errors, fired .* failed-1 TimeoutError", table)
    worst = table.split("Slowest queries slow responses (model large), fired 2026-11-24 04:05 UTC", 1)[1].split(
        "`barograph trace ID`"
    )[0]
    assert re.findall(r"trace-\d", worst) == ["trace-2", "trace-3", "trace-4"]  # of its pipeline and model
    assert "no queries of that time stand behind it" in table  # the second group had no queries of its time


def test_an_open_alert_says_why_it_is_told_or_held_also_one_from_outside(build: Build) -> None:
    house = build(queries(30, 0.05, 0.04, response_time=8.0))
    house.alerts.check()
    delivery = Delivery(house.settings, house.plane, house.clock, {})
    house.alerts.notifier = delivery.notifier("default")
    house.alerts.notifier.of_rules = house.alerts.alerts
    theirs = {"alertname": "node down", "host": "rag-1"}
    house.alerts.notifier.receive([
        Alert(labels=theirs, annotations={"summary": "it does not answer"}, starts_at=NOW, updated_at=NOW,
              ends_at=NOW + timedelta(hours=1), from_outside=True)
    ])  # fmt: skip
    text = plain(text_of(build_page("alerts", house.material())))
    assert "FIRING slow responses: Response time p95 exceeded 5 s threshold (current: 8 s)" in text
    assert "log: new: waiting for group_wait until 14:05" in text
    assert re.search(r"FIRING node down: it does not answer [0-9a-f]{16} since \S+ \S+ host=rag-1 from outside", text)
    order = [text.index(part) for part in ("FIRING slow responses:", "Rules", "Incidents", "What has happened")]
    assert order == sorted(order)
    create_silence(delivery.silences, project="default", matchers=["alertname=slow responses"], author="ann",
                   ends_at=NOW + timedelta(hours=2), comment="index rebuild")  # fmt: skip
    for _ in range(90):
        house.clock.step(1)
        house.alerts.notifier.step(house.clock.now())
    told = text_of(build_page("alerts", house.material()))
    held, theirs_told = plain(told.split("Rules")[0]).split("node down: it does not answer")
    assert held.startswith("Alerts")
    assert "HELD slow responses: " in held
    assert "index rebuild" in held
    assert "until 16:05:00; next at 16:05:30" in held
    assert "log: told at 14:05" in theirs_told
    assert "; repeated at " in theirs_told


def test_an_account_that_does_not_add_up_is_not_hidden(build: Build) -> None:
    account = {"received": 10, "stored": 7, "rejected": 1, "duplicate": 1}
    text = plain(text_of(build_page("system", build().material(account=account, health=("the engine is away",)))))
    assert "does not hold: +1 events differ" in text
    assert "the engine is away" in text
    assert "in order" not in text


# the report


def test_a_report_begins_with_findings_and_ends_with_its_method(week: House) -> None:
    text = text_of(build_report(week.material(), 168))
    findings = text.split("── Findings", 1)[1].split("┌", 1)[0]
    assert 3 <= findings.count("\n– ") <= 5
    assert re.search(r"Response time p95: [\d.]+ s \(n=[\d,]+\), (up|down) [\d.]+.% from", plain(findings))
    parts = ("Findings", "┌ Queries", "p50, p95, p99", "Experiment: Vector", "Slowest queries", "── Method")
    order = [text.index(part) for part in parts]
    assert order == sorted(order)
    method = plain(text.split("── Method", 1)[1])
    assert "Time: 2026-11-17 14:06:00 up to 2026-11-24 14:05:00 UTC" in method
    assert re.search(r"n=[\d,]+ queries", method)
    assert "Made by Barograph " in method
    assert "barograph report --hours 168" in method


def test_a_change_for_the_worse_that_is_no_noise_is_the_first_finding(build: Build) -> None:
    before = queries(400, 40, 12, status=lambda i: "error" if i % 50 == 0 else "ok")
    after = queries(400, 16, 15.9, status=lambda i: "error" if i % 3 == 0 else "ok")
    house = build([*queries(5, 90, 1), *before, *after])
    findings = plain(text_of(build_report(house.material(), 24))).split("– ")
    assert findings[1].startswith(
        "Error rate: 33.5 % (n=400), up 1580 % from 2 % at the same time a day earlier (n=400)"
    )
    assert "that is worse, its 95 % interval excludes no change" in findings[1]


def test_a_report_without_a_time_to_compare_with_says_so_once(build: Build) -> None:
    text = plain(text_of(build_report(build(queries(300, 20, 19, cost=0.1)).material(), 24)))
    said = "Not compared with the same time a day earlier. There are no records of the earlier period to compare with."
    assert text.count(said) == 1
    assert "from yesterday" not in text


@pytest.mark.parametrize("hours", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_report_on_no_time_or_all_of_it_is_refused(build: Build, hours: float) -> None:
    with pytest.raises(InvalidQuery):
        build_report(build().material(), hours)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        shown = busy_house(Path(directory))
        for page_name in (*NAMES, "report"):
            for kind in DRAWN:
                drawn_text = text_of(page_of(shown.material(), page_name), kind) + "\n"
                (GOLDEN / f"{page_name}-{kind}.txt").write_text(drawn_text, encoding="utf-8")
        shown.close()
