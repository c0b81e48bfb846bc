"""The questions of a page are asked once, and together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from tests.dashboard.rag_house import House, busy_week

from barograph.analytics.analytics_engine import AnalyticsEngine
from barograph.core.query import EventPage, EventQuery, MetricAnswer, MetricQuery, Window
from barograph.core.units import UnitAnswer, UnitQuery
from barograph.dashboard.material import Material
from barograph.dashboard.pages import PAGES, build_page
from barograph.dashboard.remembered import RememberedReader
from barograph.dashboard.report import build_report
from barograph.visualize.chart import Page
from barograph_client.errors import InvalidQuery, QueryTooExpensive


class ManyCountingReader:
    """A house's reader that can be asked many questions at once, and what it was asked how."""

    def __init__(self, house: House) -> None:
        self._reader = house.reader
        self.together: list[list[MetricQuery]] = []
        self.alone: list[MetricQuery] = []
        self.too_dear = False
        self.watermark = house.reader.watermark
        self.unit_values = house.reader.unit_values
        self.population = house.reader.population
        self.shared_questions = house.reader.shared_questions
        self.others: list[EventQuery | UnitQuery] = []

    def events(self, question: EventQuery) -> EventPage:
        self.others.append(question)
        return self._reader.events(question)

    def units(self, question: UnitQuery) -> UnitAnswer:
        self.others.append(question)
        return self._reader.units(question)

    def query(self, question: MetricQuery) -> MetricAnswer:
        self.alone.append(question)
        return self._reader.query(question)

    def query_many(self, questions: Sequence[MetricQuery]) -> list[MetricAnswer]:
        self.together.append(list(questions))
        if self.too_dear:
            raise QueryTooExpensive("all of it at once is too much")
        return [self._reader.query(question) for question in questions]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    one = House(tmp_path_factory.mktemp("house"), busy_week())
    one.run_experiment()
    yield one
    one.close()


@pytest.fixture
def reader(house: House) -> ManyCountingReader:
    return ManyCountingReader(house)


def over(house: House, reader: RememberedReader) -> Material:
    analytics = AnalyticsEngine(reader, house.catalogue, house.clock, house.settings)
    experiments = house.experiments.through(reader, house.clock)
    return replace(house.material(), reader=reader, analytics=analytics, experiments=experiments)


def page_of(name: str, material: Material) -> Page:
    return build_report(material, 168) if name == "report" else build_page(name, material)


@pytest.mark.parametrize("name", [*(spec.name for spec in PAGES), "report"])
def test_a_page_is_the_same_and_its_questions_are_asked_together(
    house: House, reader: ManyCountingReader, name: str
) -> None:
    remembered = RememberedReader(reader)
    material = over(house, remembered)
    made = remembered.with_foresight(lambda: page_of(name, material))
    assert made == page_of(name, house.material())
    asked = [question for questions in reader.together for question in questions]
    assert reader.alone == []
    assert len(asked) == len(set(asked))
    assert len(reader.others) == len(set(reader.others))
    assert len(reader.together) <= 5
    needed = RememberedReader(ManyCountingReader(house))
    page_of(name, over(house, needed))
    assert len(asked) + len(reader.others) <= len(needed._answers) + 8  # blank answers may lead astray, not far


def test_what_cannot_be_asked_together_is_asked_alone(house: House, reader: ManyCountingReader) -> None:
    reader.too_dear = True
    remembered = RememberedReader(reader)
    material = over(house, remembered)
    made = remembered.with_foresight(lambda: build_page("overview", material))
    assert made == build_page("overview", house.material())
    assert reader.alone


def test_what_is_too_dear_is_asked_once(house: House, reader: ManyCountingReader) -> None:
    remembered = RememberedReader(reader)
    question = EventQuery(kind="query", window=Window.last("1d", house.clock.now()), order="nothing")
    reader._reader.events = refuse  # type: ignore[method-assign]
    try:
        for _ in range(3):
            with pytest.raises(QueryTooExpensive):
                remembered.events(question)
    finally:
        del reader._reader.events
    assert reader.others == [question]


def refuse(question: EventQuery) -> EventPage:
    raise QueryTooExpensive("the question passed its time limit")


def test_an_error_of_the_page_itself_is_not_hidden(house: House, reader: ManyCountingReader) -> None:
    question = MetricQuery(metric="queries", window=Window.last("1d", house.clock.now()))
    remembered = RememberedReader(reader)

    def build() -> float:
        answer = remembered.query(question)
        assert answer.rows, "a blank answer is more than this can bear"
        raise InvalidQuery("no such page")

    with pytest.raises(InvalidQuery, match="no such page"):
        remembered.with_foresight(build)
    assert reader.together == [[question]]


def test_a_question_that_only_an_answer_leads_to_is_asked_too(house: House, reader: ManyCountingReader) -> None:
    window = Window.last("1d", house.clock.now())
    remembered = RememberedReader(reader)

    def build() -> tuple[float | None, ...]:
        first = remembered.query(MetricQuery(metric="queries", window=window)).value
        return first, *([remembered.query(MetricQuery(metric="cost", window=window)).value] if first else [])

    queries, cost = remembered.with_foresight(build)
    assert queries
    assert cost is not None
    assert [[question.metric for question in those] for those in reader.together] == [["queries"], ["cost"]]
