"""Questions that several arms were asked: what the store tells is what ``UnitsReader`` counts from the same events."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise, product
from typing import Any

import pytest
from msgspec import structs
from tests.experiments import units_reader
from tests.experiments.units_reader import UnitsReader
from tests.store.conftest import opener
from tests.store.week_of_events import own_metrics
from tests.support.soak import times
from tests.support.store_site import HOSTILE, Site, at

from barograph.core.event import Event, Exposure, Feedback, Query, Score
from barograph.core.metric import Measure
from barograph.core.query import Window
from barograph.core.shared_questions import LONGEST_ANSWER, LONGEST_QUESTION, SharedQuery, SharedQuestions
from barograph.core.units import UnitQuery
from barograph.store.units import shared_questions, sums
from barograph_client.errors import InvalidQuery

WINDOW = Window(at("2026-10-20 06:30"), at("2026-10-24 17:45"))
PAUSE = Window(at("2026-10-21 00:00"), at("2026-10-22 10:00"))
UNITS, QUERIES = 40, 500
ARMS = ("b", "a")  # the arm c is none of the experiment's any more
METRICS = (
    "satisfaction", "accuracy", "score.delta", "error_rate", "low_rating_rate", "cost", "queries", "ratings_a_query",
)  # fmt: skip
QUESTIONS = (
    "How do I rotate an API key?", "Was kostet das für Ämter?", "ПАРОЛЬ забыт", "用户 登录", HOSTILE, "x" * 5000,
    f"{'y' * LONGEST_QUESTION}1", f"{'y' * LONGEST_QUESTION}2", "", " \t\n ", "=1+1", "{p0:String}", "why", "w hy",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    open_it, opened = opener(tmp_path_factory.mktemp("shared"), address)
    catalogue = own_metrics()
    ratings = structs.replace(catalogue.get("cost_a_token"), name="ratings_a_query", of=Measure("feedback", "rating"))
    catalogue.add(structs.replace(ratings, per=Measure("query")))
    made = open_it(catalogue=catalogue)
    made.append(events())
    made.store.flush()
    yield made
    for one in opened:
        one.close()


def events() -> Iterator[Event]:
    chance = random.Random(3)
    for n, (kind, project) in product(range(UNITS), (("user", "default"), ("tenant", "default"), ("user", "beside"))):
        first = WINDOW.start + chance.uniform(-0.1, 0.7) * timedelta(seconds=WINDOW.seconds)
        known: dict[str, Any] = {"experiment": "reranker", "unit_kind": kind, "project": project}
        for arm in ("abc"[n % 3], *(("a", "b") if n % 13 == 5 else ())):  # some are seen in two arms
            event_id = f"{project}-{kind}-{n}-{arm}"
            yield Exposure(event_id=event_id, time=first, arm=arm, unit_id=f"{kind}-{n}", **known)
    for n in range(QUERIES):
        text = chance.choice(QUESTIONS)
        spelled = chance.choice((text, text.upper() if len(text.upper()) == len(text) else text, f"\n {text}\t "))
        moment = WINDOW.start + timedelta(seconds=round(chance.uniform(-0.1, 1.1) * WINDOW.seconds), microseconds=n)
        trace = f"trace-{n - n % 2 if n % 5 == 0 else n}" if n % 7 else ""  # some traces have two queries
        known = {"trace_id": trace, "project": "beside" if n % 9 == 0 else "default"}
        yield Query(
            event_id=f"query-{n}", time=moment, query=spelled, answer=f"{n}: {HOSTILE}" + "é" * (n * 7 % 900),
            user_id=f"user-{chance.randrange(UNITS + 4)}" if n % 8 else "",
            tags={"tenant": f"tenant-{chance.randrange(UNITS)}"}, status=chance.choice(("ok", "ok", "error")),
            error_type="Timeout" if n % 3 else "", response_time=chance.choice((None, n / 8)),
            cost=chance.choice((None, n / 64)), accuracy_score=chance.choice((None, n % 9 / 8)), **known,
        )  # fmt: skip
        for number in range(chance.randrange(3)):
            later = moment + chance.random() * timedelta(days=1)
            rating = chance.choice((None, 1.0, 2.0, 4.0, 5.0))
            yield Feedback(event_id=f"f-{n}-{number}", time=later, rating=rating, **known)
            name = chance.choice(("delta", "other"))
            yield Score(event_id=f"s-{n}-{number}", time=later, name=name, value=chance.randrange(-8, 9) / 8, **known)


def asked(metric: str = "satisfaction", most: int = 10, **more: Any) -> SharedQuery:
    return SharedQuery(of=UnitQuery(**{"experiment": "reranker", "metric": metric, "window": WINDOW, **more}),
                       arms=ARMS, most=most)  # fmt: skip


def agreed(site: Site, question: SharedQuery) -> SharedQuestions:
    """What the store tells, held against the events."""
    found = site.store.shared_questions(question)
    assert found == UnitsReader(site.recorded, site.store.watermark, site.catalogue).shared_questions(question)
    return found


@pytest.mark.parametrize("metric", METRICS)
def test_every_question_of_two_arms_is_told_as_its_events_say(site: Site, metric: str) -> None:
    chance = random.Random(metric)
    assert agreed(site, asked(metric, 50)).questions
    assert agreed(site, asked(metric, 50, unit_kind="tenant")).questions
    for _ in range(times(1, 40)):
        agreed(site, asked(
            metric, chance.choice((1, 4, 10)),
            unit_kind=chance.choice(("user", "tenant")), project=chance.choice(("default", "default", "beside")),
            attribution_days=chance.choice((None, 0.6, 2.3)), pauses=chance.choice(((), (PAUSE,))),
            window=chance.choice((WINDOW, Window(WINDOW.start, WINDOW.start + timedelta(days=2)))),
        ))  # fmt: skip


def test_those_that_differ_most_come_first_and_then_the_newest(site: Site) -> None:
    found = agreed(site, asked()).questions
    spreads = [one.spread or 0 for one in found]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[0] > 1
    newest = [max(answer.time for answer in one.answers) for one in agreed(site, asked("queries")).questions]
    assert all(one.spread is None for one in agreed(site, asked("queries")).questions)
    assert all(later > earlier for later, earlier in pairwise(newest))


def test_a_question_is_the_same_in_another_case_and_with_blanks_around_it_and_no_other(site: Site) -> None:
    found = agreed(site, asked("queries", 50))
    told = [one.question for one in found.questions]
    assert len({text.lower() for text in told}) == len(told) - 1  # two differ where they are cut off
    assert {"why", "w hy"} <= {text.lower() for text in told}
    assert all(text == text.strip() and text for text in told)
    assert 0 < found.texts < found.queries


def test_texts_are_cut_off_visibly_and_each_arm_has_one_answer_in_the_order_of_the_arms(site: Site) -> None:
    found = agreed(site, asked(most=50)).questions
    assert {one.question[-1] for one in found if len(one.question) == LONGEST_QUESTION} == {"…"}
    assert any(answer.answer.endswith("…") for one in found for answer in one.answers)
    for one in found:
        assert len(one.question) <= LONGEST_QUESTION
        assert [answer.arm for answer in one.answers] == list(ARMS)
        assert all(len(answer.answer) <= LONGEST_ANSWER for answer in one.answers)


def test_only_the_newest_queries_are_looked_at(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = agreed(site, asked())
    for module in (shared_questions, units_reader):
        monkeypatch.setattr(module, "MOST_QUERIES", 200)
    assert 0 < agreed(site, asked()).queries < everything.queries


def test_another_project_and_another_experiment_share_nothing(site: Site) -> None:
    ours, theirs = (agreed(site, asked(most=50, project=project)) for project in ("default", "beside"))
    ids = [{answer.event_id for one in found.questions for answer in one.answers} for found in (ours, theirs)]
    assert ids[0]
    assert ids[1]
    assert not ids[0] & ids[1]
    for nobody in (asked(project="nobody's"), asked(experiment="other"), structs.replace(asked(), arms=("c", "d"))):
        found = agreed(site, nobody)
        assert (found.questions, found.notes) == ((), ())


def test_what_was_retired_is_said(site: Site) -> None:
    engine, question = site.store._engine, asked()
    for day, said in ((WINDOW.start.date(), True), (WINDOW.start.date() - timedelta(days=1), False)):
        found = shared_questions.shared_questions(engine, site.catalogue, question, WINDOW.end, {day})
        assert bool(found.notes) == said


@pytest.mark.parametrize("question", [asked(by="day"), asked(most=0), asked(most=101), asked("response_time.p95")])
def test_what_cannot_be_asked_is_refused(site: Site, question: SharedQuery) -> None:
    with pytest.raises(InvalidQuery):
        site.store.shared_questions(question)


def test_arms_that_are_ids_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "MOST_ARMS", 2)
    with pytest.raises(InvalidQuery, match="more than 2 arms"):
        site.store.shared_questions(asked())
    with pytest.raises(InvalidQuery, match="more than 2 arms"):
        site.store.units(asked().of)
