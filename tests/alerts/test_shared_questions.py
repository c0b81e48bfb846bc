"""What the rules of a tick ask is asked together, and nothing that goes wrong with it reaches another rule."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.dictionary_reader import DictionaryReader

from barograph.alerts.evaluator import Evaluator
from barograph.alerts.rule import ThresholdRule, make_rule
from barograph.alerts.shared_questions import PATIENCE_SECONDS, SharedQuestions
from barograph.core.metric import Catalogue
from barograph.core.query import MetricAnswer, MetricQuery, Window
from barograph.core.settings import RuleSettings
from barograph_client.errors import EngineUnavailable

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
METRICS = ("queries", "error_rate", "response_time.p95")


class ManyAtOnce(DictionaryReader):
    """Notes what is asked at once, and does ``first`` before it answers."""

    def __init__(self) -> None:
        super().__init__([{"kind": "query", "time": START, "response_time": 9.0, "status": "ok"}], lambda: START)
        self.together: list[list[MetricQuery]] = []
        self.first: Callable[[Sequence[MetricQuery]], None] = lambda questions: None

    def query_many(self, questions: Sequence[MetricQuery]) -> list[MetricAnswer]:
        self.together.append(list(questions))
        self.first(questions)
        return [self.query(question) for question in questions]


@pytest.fixture
def reader() -> ManyAtOnce:
    return ManyAtOnce()


@pytest.fixture
def evaluator(reader: ManyAtOnce) -> Iterator[Evaluator]:
    made = Evaluator(reader, "default", 0.2, together=reader.query_many)
    yield made
    made.close()


def rules() -> list[ThresholdRule]:
    return [make_rule(RuleSettings(name=name, metric=name, above=0.5), Catalogue()) for name in METRICS]


def question(metric: str = "queries", project: str = "default") -> MetricQuery:
    return MetricQuery(metric=metric, window=Window.last(300.0, START + timedelta(seconds=1)), project=project)


class TestOneTick:
    END = START + timedelta(seconds=10)

    def outcomes(self, evaluator: Evaluator, after: float = 0.0) -> list[str]:
        end = self.END + timedelta(seconds=after)
        evaluator.ask_ahead(rules(), end)
        readings = [evaluator.observe(rule, end) for rule in rules()]
        return [reading.error or reading.groups[0][1].outcome for reading in readings]

    def test_all_rules_are_asked_at_once_and_each_reads_its_own(self, reader: ManyAtOnce, evaluator: Evaluator) -> None:
        assert self.outcomes(evaluator) == ["breach", "clear", "breach"]
        assert [len(asked) for asked in reader.together] == [3]
        assert len(reader.asked) == 3  # nothing is asked a second time

    def test_one_that_fails_fails_alone_and_is_asked_alone_until_it_is_well(
        self, reader: ManyAtOnce, evaluator: Evaluator
    ) -> None:
        def refuse(asked: MetricQuery) -> None:
            if asked.metric == "error_rate":
                raise EngineUnavailable("away")

        reader.before = refuse
        assert self.outcomes(evaluator) == ["breach", "away", "breach"]
        assert self.outcomes(evaluator, 15) == ["breach", "away", "breach"]
        assert [len(asked) for asked in reader.together] == [3, 2]
        reader.before = lambda asked: None
        assert self.outcomes(evaluator, 30) == ["breach", "clear", "breach"]
        assert self.outcomes(evaluator, 45) == ["breach", "clear", "breach"]
        assert [len(asked) for asked in reader.together] == [3, 2, 2, 3]

    def test_one_that_hangs_holds_up_the_others_once_for_the_time_of_one_rule(
        self, reader: ManyAtOnce, evaluator: Evaluator
    ) -> None:
        let_go = threading.Event()

        def hang(asked: MetricQuery) -> None:
            if asked.metric == "error_rate":
                let_go.wait(20)

        reader.before = hang
        try:
            began = time.monotonic()
            first, second = self.outcomes(evaluator), self.outcomes(evaluator, 15)
            assert time.monotonic() - began < 1.5
            assert [outcome[:12] for outcome in first] == ["breach", "not answered", "breach"]
            assert second[::2] == ["breach", "breach"]
            assert "not been answered yet" in second[1]
        finally:
            let_go.set()


class TestManyProjects:
    def test_those_who_wait_are_answered_together_and_each_with_its_own(self, reader: ManyAtOnce) -> None:
        shared, begun, let_go = SharedQuestions(reader), threading.Event(), threading.Event()

        def hold(questions: Sequence[MetricQuery]) -> None:
            begun.set()
            let_go.wait(20 if len(reader.together) == 1 else 0)

        reader.first = hold
        with ThreadPoolExecutor(9) as pool:
            leading = pool.submit(shared.ask, [question()])
            begun.wait(20)
            names = [f"project {i}" for i in range(7)]
            others = [pool.submit(shared.ask, [question("error_rate", name), question()]) for name in names]
            while len(shared._waiting) < len(names):
                time.sleep(0.001)
            let_go.set()
            assert [answer.n for answer in leading.result()] == [1]
            assert [[answer.n for answer in one.result()] for one in others] == [[0, 1]] * 7
        assert [len(asked) for asked in reader.together] == [1, 14]

    def test_those_who_wait_too_long_for_others_are_answered_together_beside_them(self, reader: ManyAtOnce) -> None:
        shared, begun, let_go = SharedQuestions(reader), threading.Event(), threading.Event()

        def hold(questions: Sequence[MetricQuery]) -> None:
            begun.set()
            if questions[0].metric == "queries":
                let_go.wait(20)

        reader.first = hold
        with ThreadPoolExecutor(5) as pool:
            leading = pool.submit(shared.ask, [question()])
            try:
                begun.wait(20)
                began = time.monotonic()
                late = [pool.submit(shared.ask, [question("error_rate")]) for _ in range(4)]
                assert [one.result()[0].n for one in late] == [1] * 4
                assert time.monotonic() - began < PATIENCE_SECONDS + 1
                assert not leading.done()
                assert len(reader.together) < 5
            finally:
                let_go.set()

    def test_what_fails_is_told_to_all_who_were_asked_for_with_it_and_the_next_are_answered(
        self, reader: ManyAtOnce
    ) -> None:
        shared = SharedQuestions(reader)

        def refuse(questions: Sequence[MetricQuery]) -> None:
            raise EngineUnavailable("away")

        reader.first = refuse
        with pytest.raises(EngineUnavailable):
            shared.ask([question()])
        reader.first = lambda questions: None
        assert shared.ask([question()])[0].n == 1
