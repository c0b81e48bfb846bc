"""Bad input: a clear error or a stated status, never a wrong number. Through collector, store, framework and pages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import structs
from tests.support.store_site import at

from barograph.core.metric import Measure, Metric
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.experiments.comparison import Comparison
from barograph.experiments.design import Experiment, Guardrail, Method, Variant, equal_variants
from barograph.visualize.visualizer import Format
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidEvent, InvalidExperiment, InvalidQuery, UnknownMetric

START = at("2026-11-10 09:00")
CONTROL, TREATED = "control", "reranked"
UNITS = 120  # of each arm, where there shall be enough


class Lab:
    """An open dashboard whose clock stands where it is put, and short ways to use it."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock(START)
        self.dashboard = DashboardInterface(
            directory, clock=self.clock, environment={}, background=False, default_rules=False
        )

    def running(self, key: str, **values: Any) -> str:
        """An experiment that was just started."""
        usual: dict[str, Any] = {"variants": equal_variants(CONTROL, TREATED), "primary_metric": "response_time.mean"}
        self.dashboard.experiments.create(Experiment(key=key, **{**usual, **values}))
        return self.dashboard.experiments.start(key).key

    def apart(self, project: str) -> DashboardInterface:
        """A project of its own in the same directory."""
        self.dashboard.parts.projects.create(project, actor="test")
        return self.dashboard.for_project(project)

    def expose(self, key: str, arm: str, unit: str, *, after: float = 0.0) -> None:
        self.dashboard.collector.record_exposure(
            {"experiment": key, "arm": arm, "unit_id": unit, "time": self.clock.now() + timedelta(seconds=after)}
        )

    def ask(self, unit: str, *, after: float = 1.0, **fields: object) -> None:
        self.dashboard.record_query_execution(
            {"query": "?", "user_id": unit, "time": self.clock.now() + timedelta(seconds=after), **fields}
        )

    def both(self, key: str, control: list[float], treated: list[float], field: str = "response_time") -> None:
        """One unit with one query for each of these numbers."""
        for arm, values in ((CONTROL, control), (TREATED, treated)):
            for number, value in enumerate(values):
                self.expose(key, arm, f"{key}-{arm}-{number}")
                self.ask(f"{key}-{arm}-{number}", **{field: value})

    def compare(self, key: str, *, days: float = 1.0) -> Comparison:
        """The comparison some time later, which JSON can carry as it is."""
        self.clock.advance(days * 86_400)
        self.dashboard.flush()
        found = self.dashboard.experiments.compare(key)
        assert_carried(found)
        return found


def assert_carried(found: object) -> None:
    """No number is infinite or none: JSON has a null for these, which is another thing."""
    assert_numbers(msgspec.to_builtins(found), type(found).__name__)


def assert_numbers(value: object, where: str) -> None:
    if isinstance(value, dict):
        for name, one in value.items():
            assert_numbers(one, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            assert_numbers(one, f"{where}[{index}]")
    elif isinstance(value, float):
        assert math.isfinite(value), where


def assert_silent(found: Comparison) -> None:
    """There is no verdict, and it says why."""
    assert found.verdict.finding in ("not settled", "not valid")
    assert found.verdict.sentence.startswith(("Not settled yet: ", "Not valid: "))
    assert found.verdict.p_value is None


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("bad-input") / "data")
    with made.dashboard:
        yield made


class TestTooLittle:
    def test_nobody_was_exposed(self, lab: Lab) -> None:
        found = lab.compare(lab.running("nobody"))
        assert_silent(found)
        assert found.units == {CONTROL: 0, TREATED: 0}

    @pytest.mark.parametrize("arm", [CONTROL, TREATED])
    def test_an_arm_is_empty(self, lab: Lab, arm: str) -> None:
        key = lab.running(f"only-{arm}", guardrails=(Guardrail(metric="error_rate", margin=0.1),))
        for number in range(40):
            lab.expose(key, arm, f"{key}-{number}")
            lab.ask(f"{key}-{number}", response_time=1 + number / 10)
        found = lab.compare(key)
        assert_silent(found)
        assert found.estimates[0].absolute is None
        assert found.metrics[1].guardrails[0].state == "open"

    def test_one_unit_is_no_arm(self, lab: Lab) -> None:
        key = lab.running("one-unit", minimum_units=2)
        lab.both(key, [1.0], [2.0])
        found = lab.compare(key)
        assert_silent(found)
        assert found.units == {CONTROL: 1, TREATED: 1}
        assert found.estimates[0].p_value is None

    def test_units_that_were_never_measured(self, lab: Lab) -> None:
        key = lab.running("unmeasured", pre_days=7, attribution_days=1.0, caps={"response_time.mean": 0.99})
        for arm in (CONTROL, TREATED):
            for number in range(40):
                lab.expose(key, arm, f"{key}-{arm}-{number}")
        assert_silent(lab.compare(key, days=3))

    @pytest.mark.parametrize("value", [0.0, 0.1])
    def test_all_values_are_equal(self, lab: Lab, value: float) -> None:
        key = lab.running(f"equal-{value}", guardrails=(Guardrail(metric="cost", margin=0.1),))
        lab.both(key, [value] * 40, [value] * 40)
        found = lab.compare(key)
        assert_silent(found)
        assert found.estimates[0].p_value is None
        assert "breached" not in {check.state for check in found.metrics[1].guardrails}


class TestNumbers:
    @pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e308, "1e999"])
    def test_what_is_no_number_is_refused_at_the_door(self, lab: Lab, value: object) -> None:
        with pytest.raises(InvalidEvent, match="response_time"):
            lab.ask("somebody", response_time=value)
        with pytest.raises(InvalidEvent, match="value"):
            lab.dashboard.collector.record_score({"name": "grade", "value": value, "user_id": "somebody"})

    def test_sums_that_are_too_large_are_an_error_and_no_number(self, lab: Lab) -> None:
        key = lab.running("huge", primary_metric="score.huge")
        for arm, sign in ((CONTROL, 1), (TREATED, -1)):
            for number in range(40):
                unit = f"{key}-{arm}-{number}"
                lab.expose(key, arm, unit)
                score = {"name": "huge", "value": sign * 1e300 * (1 - number / 100), "user_id": unit, "trace_id": unit}
                lab.ask(unit, trace_id=unit)
                lab.dashboard.record_score({**score, "time": lab.clock.now() + timedelta(seconds=2)})
        with pytest.raises(InvalidQuery, match=r"the units' sums of score\.huge are too large"):
            lab.compare(key)

    def test_a_few_enormous_values_are_told_and_never_decide_at_any_time(self, lab: Lab) -> None:
        key = lab.running("skewed", primary_metric="cost", method="always valid")
        lab.both(key, [0.001] * UNITS, [*([0.001] * (UNITS - 1)), 900_000.0], "cost")
        found = lab.compare(key)
        assert found.verdict.finding in ("not valid", "not settled")


class TestDefinitions:
    @pytest.mark.parametrize(
        "weights", [(0.5, 0.6), (0.5, 0.4), (1.0, 0.0), (-0.5, 1.5), (math.nan, 0.5), (0.5, math.inf)]
    )
    def test_weights_that_do_not_sum_to_one_are_refused(self, lab: Lab, weights: tuple[float, float]) -> None:
        arms = tuple(Variant(key=key, weight=weight) for key, weight in zip("ab", weights, strict=True))
        with pytest.raises(InvalidExperiment):
            lab.dashboard.experiments.create(Experiment(key="w", variants=arms, primary_metric="cost"))

    def test_an_arm_that_is_renamed_or_removed_while_it_runs_is_refused(self, lab: Lab) -> None:
        key = lab.running("frozen", variants=equal_variants("a", "b", "c"))
        running = lab.dashboard.experiments.get(key)
        for names, said in ((("a", "b", "d"), "arm c was removed or renamed"), (("a", "b"), "arm c was removed")):
            with pytest.raises(InvalidExperiment, match=said):
                lab.dashboard.experiments.revise(structs.replace(running, variants=equal_variants(*names)))
        assert lab.dashboard.experiments.get(key) == running

    @pytest.mark.parametrize("name", ["\x1b[2Jarm", "a\nb", "a\x00", "‮abc"])
    def test_names_that_steer_a_terminal_are_refused(self, lab: Lab, name: str) -> None:
        for wrong in (
            Experiment(key=name, variants=equal_variants("a", "b"), primary_metric="cost"),
            Experiment(key="k", variants=equal_variants("a", name), primary_metric="cost"),
            Experiment(key="k", variants=equal_variants("a", "b"), primary_metric="cost", unit_kind=name),
        ):
            with pytest.raises(InvalidExperiment, match="cannot be used"):
                lab.dashboard.experiments.create(wrong)

    def test_texts_that_steer_a_terminal_are_drawn_as_text(self, lab: Lab) -> None:
        dashboard = lab.apart("hostile")
        hostile = Experiment(
            key="hostile",
            variants=equal_variants("a", "b"),
            primary_metric="cost",
            title="\x1b[2J\x1b]0;owned\x07title",
            hypothesis="faster\x1b[31m\r\n\x00\u202e",
        )
        dashboard.experiments.create(hostile)
        dashboard.experiments.start("hostile")
        forms: tuple[Format, ...] = ("text", "csv", "json")
        for form in forms:
            drawn = dashboard.render("experiments", format=form)
            assert "owned" in drawn
            assert not set(drawn) & {"\x1b", "\x07", "\x00", "\u202e"}


class TestExposures:
    def test_an_arm_that_the_definition_does_not_have_is_named_and_ends_the_comparison_of_many(self, lab: Lab) -> None:
        key = lab.running("stranger")
        lab.both(key, [1.0, 2.0] * 30, [3.0, 4.0] * 30)
        lab.expose(key, "renamed\x1b[2J", "somebody-else")
        stray = lab.compare(key)
        assert stray.verdict.finding != "not valid"
        assert any("renamed" in warning and warning.isprintable() for warning in stray.warnings)
        lab.expose(key, "renamed\x1b[2J", "and-another")
        found = lab.compare(key)
        assert_silent(found)
        assert "renamed" in found.verdict.sentence
        assert found.verdict.sentence.isprintable()
        assert stray.units == found.units == {CONTROL: 60, TREATED: 60}

    def test_a_unit_in_two_arms_is_in_none_and_counted(self, lab: Lab) -> None:
        key = lab.running("two-arms")
        lab.both(key, [1.0, 2.0] * 30, [3.0, 4.0] * 30)
        for number in range(10):
            lab.expose(key, TREATED, f"{key}-{CONTROL}-{number}", after=5)
        found = lab.compare(key)
        assert_silent(found)
        assert "10 of 120 users were seen in two arms" in found.verdict.sentence
        assert found.contaminated == 10
        assert found.estimates[0].baseline_n == 50

    def test_an_id_of_a_megabyte_is_refused_whole(self, lab: Lab) -> None:
        key = lab.running("long-id")
        long = "u" * 2**20
        with pytest.raises(InvalidEvent, match="unit_id"):
            lab.expose(key, CONTROL, long)
        with pytest.raises(InvalidEvent, match="user_id"):
            lab.ask(long, response_time=1.0)
        with pytest.raises(InvalidExperiment, match="unit's id"):
            lab.dashboard.experiments.expose(key, long)
        assert lab.compare(key).units == {CONTROL: 0, TREATED: 0}

    def test_a_time_in_the_future_is_refused(self, lab: Lab) -> None:
        key = lab.running("future")
        with pytest.raises(InvalidEvent, match="time"):
            lab.expose(key, CONTROL, "early", after=86_400)
        with pytest.raises(InvalidEvent, match="time"):
            lab.ask("early", after=86_400, response_time=1.0)

    def test_what_a_unit_did_just_before_its_exposure_is_not_counted_and_told(self, lab: Lab) -> None:
        """As by clocks that differ: a query that belongs to the exposure seems to come before it."""
        key = lab.running("skew")
        lab.both(key, [1.0, 2.0] * 20, [3.0, 4.0] * 20)
        for number in range(40):
            lab.ask(f"{key}-{CONTROL}-{number}", after=-5, response_time=1000.0)
        found = lab.compare(key)
        assert found.estimates[0].baseline_value == 1.5
        assert any("40 of 80 units did something in the 10 seconds before" in one for one in found.warnings)

    @pytest.mark.parametrize(
        ("behind", "method"),
        [(5, "fixed horizon"), (60, "always valid"), (20 * 60, "group sequential"), (2 * 86_400, "fixed horizon")],
    )
    def test_a_clock_that_is_behind_in_one_arm_makes_no_verdict(self, lab: Lab, behind: float, method: Method) -> None:
        """Both arms do the same; the queries of one bear a time that is too early, so that its first ones are lost."""
        planned = None if method == "always valid" else 13.0
        key = lab.running(
            f"behind-{behind}", primary_metric="queries", better="higher", method=method, planned_days=planned
        )
        lab.clock.advance(14 * 86_400)
        exposed = -11 * 86_400  # three days after the start
        for number in range(2 * UNITS):
            arm, unit = (CONTROL, TREATED)[number % 2], f"{key}-{number}"
            lab.expose(key, arm, unit, after=exposed)
            first = exposed + 1 - (behind if arm == TREATED else 0)
            for query in range(2 + (number // 2) % 3):
                lab.ask(unit, after=first + query * behind)
        found = lab.compare(key, days=0.1)
        p_value = found.deciding[0].p_value
        assert p_value is not None
        assert p_value < 0.001  # what would have been said
        assert_silent(found)
        assert found.verdict.finding == "not valid"
        assert f"120 of 120 users of {TREATED} did something" in found.verdict.sentence
        assert f"0 of 120 users of {CONTROL} (p = " in found.verdict.sentence
        assert "which no arm can cause: the clocks differ by arm" in found.verdict.sentence

    def test_a_clock_that_is_behind_in_all_arms_hides_what_came_first_and_makes_no_difference(self, lab: Lab) -> None:
        key = lab.running("all-behind", planned_days=0.5, primary_metric="queries", better="higher")
        for number in range(80):
            arm, unit = (CONTROL, TREATED)[number % 2], f"{key}-{number}"
            lab.expose(key, arm, unit)
            for query in range(1 + (number // 2) % 3):
                lab.ask(unit, after=query * 100 - 5)
        found = lab.compare(key)
        assert found.verdict.finding == "not settled"
        assert found.estimates[0].absolute is not None
        assert found.estimates[0].absolute.value == 0
        assert any("80 of 80 units did something in the 10 seconds before" in one for one in found.warnings)

    def test_exposures_before_the_start_or_after_the_stop_are_not_counted(self, lab: Lab) -> None:
        key = lab.running("bounds")
        lab.both(key, [1.0, 2.0] * 20, [3.0, 4.0] * 20)
        lab.expose(key, CONTROL, "before", after=-3600)
        lab.clock.advance(60)
        lab.dashboard.experiments.stop(key)
        lab.clock.advance(60)
        lab.expose(key, CONTROL, "after")
        lab.ask(f"{key}-{CONTROL}-0", response_time=1000.0)
        found = lab.compare(key)
        assert found.units == {CONTROL: 40, TREATED: 40}
        assert found.estimates[0].baseline_value == 1.5

    def test_fifty_arms_are_compared_and_one_more_is_refused(self, lab: Lab) -> None:
        arms = [f"arm-{number}" for number in range(50)]
        key = lab.running("fifty", variants=equal_variants(*arms), planned_days=0.5)
        generator = np.random.default_rng(1)
        for number in range(50 * 32):
            unit = f"{key}-{number}"
            lab.expose(key, arms[number % 50], unit)
            lab.ask(unit, response_time=float(generator.uniform(1.0, 2.0)))
        found = lab.compare(key)
        assert len(found.estimates) == 49
        assert found.verdict.finding == "not settled"
        with pytest.raises(InvalidExperiment, match="50 arms at most"):
            lab.running("fifty-one", variants=equal_variants(*arms, "more"))


class TestLife:
    def test_an_experiment_that_is_not_there_or_never_started_is_an_error(self, lab: Lab) -> None:
        with pytest.raises(InvalidExperiment, match="no such experiment"):
            lab.dashboard.experiments.compare("never")
        draft = Experiment(key="draft", variants=equal_variants("a", "b"), primary_metric="cost")
        lab.dashboard.experiments.create(draft)
        lab.dashboard.experiments.archive("draft")
        with pytest.raises(InvalidExperiment, match="has not started"):
            lab.dashboard.experiments.compare("draft")

    def test_an_archived_experiment_says_what_it_said(self, lab: Lab) -> None:
        key = lab.running("archived")
        lab.both(key, [1.0, 2.0] * 20, [3.0, 4.0] * 20)
        lab.clock.advance(60)
        lab.dashboard.experiments.stop(key)
        stopped = lab.compare(key, days=0.1)
        lab.dashboard.experiments.archive(key)
        lab.clock.advance(60)
        archived = lab.compare(key)
        assert archived.estimates == stopped.estimates
        assert archived.verdict == stopped.verdict

    def test_a_metric_that_is_no_more_is_an_error_that_names_it_and_the_page_says_so(self, lab: Lab) -> None:
        dashboard = lab.apart("vanished")
        own = Metric(name="mine", title="Mine", unit="1", aggregation="sum", better="higher", sentence="Mine.",
                     of=Measure("query", "cost"), user_defined=True)  # fmt: skip
        dashboard.add_metric(own)
        dashboard.experiments.create(
            Experiment(key="vanished", variants=equal_variants("a", "b"), primary_metric="mine")
        )
        dashboard.experiments.start("vanished")
        lab.dashboard.parts.catalogue.remove("mine")
        with pytest.raises(UnknownMetric, match="mine"):
            dashboard.experiments.compare("vanished")
        assert "no such metric" in dashboard.render("experiments")
