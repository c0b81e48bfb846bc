"""A verdict says what to do, never against what it found; and to wait only where later data count."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from msgspec import structs
from tests.experiments.test_methods import centred, compare, experiment
from tests.experiments.unit_moments import START, moments_of

from barograph.cli.experiment_pages import next_steps
from barograph.core.metric import Catalogue
from barograph.core.units import UnitMoments
from barograph.experiments.advice import Known, overall, verdicts
from barograph.experiments.analysis.gate import Obstacles
from barograph.experiments.analysis.waiting import Progress
from barograph.experiments.comparison import Comparison, Finding
from barograph.experiments.design import Guardrail, equal_variants
from barograph.experiments.verdict import judge, range_text
from barograph.stats.estimate import Effect, Estimate

TIME = Guardrail(metric="response_time.mean", margin=0.1, auto_stop=False)
STOPPED: dict[str, object] = {"state": "stopped", "stopped_at": START + timedelta(days=9)}
LONGEST = 330  # characters of a sentence


def arms(effect: float, n: int = 500, mean: float = 4.0) -> list[UnitMoments]:
    return [moments_of("control", centred(mean, n, 1)), moments_of("reranked", centred(mean + effect, n, 2))]


def seconds(slower: float) -> list[UnitMoments]:
    return [moments_of("control", centred(10, 500, 3)), moments_of("reranked", centred(10 * slower, 500, 4))]


def advice(found: Comparison) -> str:
    """What is to be done, which is the end of the sentence, and what the command line says comes next."""
    assert f"; {found.verdict.advice}." in found.verdict.sentence
    assert len(found.verdict.sentence) <= LONGEST
    for state in ("running", "paused", "stopped"):
        (line,) = next_steps(experiment(state=state), found)
        assert line.startswith(f"Next: {found.verdict.advice}; ")
    return found.verdict.advice


class TestWhatIsSettled:
    def test_better_is_shipped_and_worse_is_not(self) -> None:
        assert advice(compare(experiment(), satisfaction=arms(0.3))) == "stop the experiment and ship reranked"
        assert advice(compare(experiment(), satisfaction=arms(-0.3))) == "stop the experiment and keep control"

    def test_what_is_stopped_is_not_stopped_again(self) -> None:
        assert advice(compare(experiment(planned_days=8, **STOPPED), satisfaction=arms(0.3))) == "ship reranked"

    @pytest.mark.parametrize(
        ("method", "slower", "said"),
        [
            ("always valid", 1.3, "do not ship reranked: stop the experiment and keep control"),
            ("fixed horizon", 1.3, "do not ship reranked: stop the experiment and keep control"),
            ("always valid", 1.099,
             "do not ship reranked yet: leave it running until it is known whether the guardrail holds"),
            ("fixed horizon", 1.099,
             "do not ship reranked before a longer experiment shows that the guardrail holds"),
            ("always valid", 1.0, "stop the experiment and ship reranked"),
        ],
    )  # fmt: skip
    def test_a_guardrail_that_does_not_hold_keeps_it_from_being_shipped(
        self, method: str, slower: float, said: str
    ) -> None:
        defined = experiment(method=method, guardrails=(TIME,))
        assert advice(compare(defined, satisfaction=arms(0.3), response_time__mean=seconds(slower))) == said

    def test_a_breached_guardrail_ends_it_though_nothing_else_is_settled(self) -> None:
        for method, days in (("fixed horizon", 5.0), ("always valid", 10.0)):
            defined = experiment(method=method, guardrails=(TIME,))
            found = compare(defined, days, satisfaction=arms(0.0), response_time__mean=seconds(1.3))
            assert found.verdict.finding == "not settled"
            assert "but a guardrail is breached: Average response time" in found.verdict.sentence
            assert advice(found) == "stop the experiment and keep control"
            assert found.needs_more_days is None

    def test_of_equivalent_arms_the_cheaper_one_is_taken(self) -> None:
        found = compare(experiment(equivalence_margin=0.05), satisfaction=arms(0.01, n=4000))
        assert advice(found) == "stop the experiment and take reranked or control, whichever costs less"

    def test_a_difference_that_does_not_matter_is_shipped_if_it_costs_no_more(self) -> None:
        found = compare(experiment(equivalence_margin=0.05), satisfaction=arms(0.1, n=4000))
        assert advice(found) == "stop the experiment and ship reranked, if it costs no more"


class TestWhatIsNotSettled:
    def test_before_the_planned_end_one_waits_for_it(self) -> None:
        found = compare(experiment(), 4, satisfaction=arms(0.3))
        assert advice(found) == "leave it running to its planned end"
        few = compare(experiment(), 4, satisfaction=arms(0.3, n=10))
        assert advice(few) == "leave it running to its planned end, about 6 more days"
        paused = experiment(state="paused", paused_at=START + timedelta(days=4))
        assert advice(compare(paused, 4, satisfaction=arms(0.3))).startswith("start it again and leave it running")

    def test_past_it_nothing_is_waited_for_as_nothing_later_counts(self) -> None:
        for shown in (
            arms(0.0, n=60),
            arms(0.3, n=10),
            [moments_of(key, np.ones(40)) for key in ("control", "reranked")],
        ):
            found = compare(experiment(), 10, satisfaction=shown)
            assert found.verdict.finding == "not settled"
            assert "new" in advice(found)
            assert "leave" not in found.verdict.sentence
            assert found.needs_more_days is None

    def test_a_new_experiment_gets_as_many_units_as_the_least_effect_and_the_gate_need(self) -> None:
        found = compare(experiment(minimum_effect=0.1), 10, satisfaction=arms(0.0, n=60))
        assert advice(found).startswith("stop the experiment, and if a change of 10 % matters, start a new one with")
        assert found.enough_units is not None
        assert 130 < found.enough_units < 170  # twice 2 (1.96 + 0.84)² / 0.4², and Student's t
        few = compare(experiment(minimum_units=900, minimum_effect=0.1), 10, satisfaction=arms(0.0, n=60))
        assert few.enough_units == pytest.approx(1800)
        assert advice(few) == "stop the experiment and start a new one with about 1,800 users"

    def test_at_any_time_one_waits_while_that_helps(self) -> None:
        always = experiment(method="always valid")
        assert advice(compare(always, satisfaction=arms(0.0, n=150))).startswith(
            "leave it running: to find a change of 5 % it needs about"
        )
        never = experiment(method="always valid", minimum_effect=1e-5)
        assert advice(compare(never, satisfaction=arms(0.0, n=150))) == (
            "stop the experiment: to find a change of 0.001 % it needs years at the present traffic"
        )

    def test_what_the_past_takes_out_of_the_spread_is_not_asked_of_more_units(self) -> None:
        found = {}
        for days in (0, 14):
            generator, both = np.random.default_rng(4), []
            for key in ("control", "reranked"):
                habit = generator.normal(3.0, 1.0, 100)
                since = habit + generator.normal(0, 0.2, 100)
                both.append(moments_of(key, since, pre=(habit, np.ones(100)) if days else None))
            found[days] = compare(experiment(pre_days=days, minimum_effect=0.01), satisfaction=both).enough_units
        plain, adjusted = found[0], found[14]
        assert plain is not None
        assert adjusted is not None
        assert adjusted == pytest.approx(plain * 0.04, rel=0.4)  # 1 - r²

    def test_an_interval_without_zero_that_settles_nothing_says_why(self) -> None:
        three = [*arms(0.18, n=250), moments_of("third", centred(4.0, 250, 3))]
        found = compare(experiment(variants=equal_variants("control", "reranked", "third")), satisfaction=three)
        assert found.arm_verdicts[0].finding == "not settled"
        assert ", but p = 0.075 when corrected for 2 arms (Holm); " in found.arm_verdicts[0].sentence


class TestWhatIsNotValid:
    def test_the_repair_is_named(self) -> None:
        uneven = [moments_of("control", centred(3, 800, 1)), moments_of("reranked", centred(3, 1000, 2))]
        found = compare(experiment(), satisfaction=uneven)
        assert advice(found) == "find out what loses users of an arm, mend it, and start a new experiment"

    def test_skew_is_waited_out_before_the_planned_end_and_a_fault_at_it(self) -> None:
        generator = np.random.default_rng(1)
        both = [moments_of(key, generator.lognormal(0, 2, 300)) for key in ("control", "reranked")]
        early, late = (compare(experiment(primary_metric="cost"), day, cost=both) for day in (5, 10))
        assert (early.verdict.finding, late.verdict.finding) == ("not settled", "not valid")
        assert advice(early) == "leave it running to its planned end, about 5 more days"
        assert advice(late) == "cap the metric in a new experiment, or give it more users"

    def test_a_breached_guardrail_is_told_whatever_else_is_wrong(self) -> None:
        generator = np.random.default_rng(1)
        both = [moments_of(key, generator.lognormal(0, 2, 300)) for key in ("control", "reranked")]
        defined = experiment(primary_metric="cost", guardrails=(TIME,), **STOPPED)
        found = compare(defined, 10, cost=both, response_time__mean=seconds(1.3))
        assert found.verdict.finding == "not valid"
        assert ", but a guardrail is breached: Average response time; keep control" in found.verdict.sentence
        assert advice(found) == "keep control, then cap the metric in a new experiment, or give it more users"
        few = [moments_of("control", centred(3, 800, 1)), moments_of("reranked", centred(3, 1000, 2))]
        lost = compare(experiment(guardrails=(TIME,)), satisfaction=few, response_time__mean=seconds(1.3))
        assert advice(lost).startswith("stop the experiment and keep control, then find out what loses users of an arm")

    @pytest.mark.parametrize("method", ["fixed horizon", "always valid", "group sequential"])
    def test_a_skewness_that_is_not_known_is_never_passed_over(self, method: str) -> None:
        generator = np.random.default_rng(5)
        both = [moments_of(key, 1e8 + generator.lognormal(0, 2.5, 400)) for key in ("control", "reranked")]
        found = compare(experiment(primary_metric="cost", method=method), cost=both)
        if method == "group sequential":  # before its first look nothing is known at all
            assert found.verdict.finding == "not valid"
        assert found.verdict.sentence.startswith("Not valid: the skewness of the values is not known")
        assert advice(found) == "record each user's values less their usual level, in a new experiment"
        assert found.needs_more_days is None


class TestSeveralArms:
    def told(self, *findings: Finding, method: str = "always valid", **of_first: object) -> tuple[list[str], str]:
        """The advice on each arm, and the one on the whole."""
        defined = experiment(variants=equal_variants("control", *"abc"[: len(findings)]), method=method)
        known = [
            Known(arm=arm, finding=finding, text=finding, p_value=0.5 if finding == "not settled" else 0.01)
            for arm, finding in zip("abc", findings, strict=False)
        ]
        known[0] = structs.replace(known[0], **of_first)
        given = verdicts(defined, Progress(days=10, units=900, enough_days=4.0, enough_units=2000), known)
        return [one.advice for one in given], overall(given, known).advice

    def test_an_arm_that_is_worse_ends_nothing_for_the_others(self) -> None:
        each, whole = self.told("worse", "not settled")
        assert whole == each[0] == "do not ship a, and leave it running for b"
        assert each[1].startswith("leave it running: ")
        assert self.told("worse", "not settled", method="fixed horizon")[1] == "stop the experiment and do not ship a"
        assert self.told("worse", "worse")[1] == "stop the experiment and keep control"

    def test_the_one_that_is_better_is_shipped(self) -> None:
        each, whole = self.told("worse", "better", "not settled")
        assert each[0] == "do not ship a, and leave it running for c"
        assert whole == "stop the experiment and ship b"

    def test_of_several_that_are_better_one_is_shipped(self) -> None:
        assert self.told("better", "better")[1] == (
            "stop the experiment and ship one of a and b, which are not compared with each other"
        )

    def test_one_whose_guardrail_holds_comes_before_one_whose_guardrail_is_breached(self) -> None:
        each, whole = self.told("better", "better", breached=("Cost",), p_value=1e-9)
        assert each == ["do not ship a", "stop the experiment and ship b"]
        assert whole == each[1]


class TestNumbers:
    def estimate(self, value: float, width: float, baseline: float) -> Estimate:
        absolute = Effect(value=value, low=value - width, high=value + width, p_value=1e-6)
        share, half = value / baseline, width / baseline
        relative = Effect(value=share, low=share - half, high=share + half, p_value=1e-6)
        return Estimate(
            arm="reranked", baseline="control", arm_value=baseline + value, baseline_value=baseline, arm_n=300,
            baseline_n=300, absolute=absolute, relative=relative, alpha=0.05, method="", warnings=(),
        )  # fmt: skip

    def text(self, found: Estimate, p_value: float = 1e-6) -> str:
        progress = Progress(days=10, units=600, enough_days=None)
        defined = experiment(primary_metric="accuracy")
        return judge(defined, Catalogue().get("accuracy"), found, p_value, progress, Obstacles(), ()).text

    def test_what_is_little_of_a_large_number_is_told_as_a_difference(self) -> None:
        assert self.text(self.estimate(1.02, 0.2, 1e12)) == (
            "Better: reranked raises accuracy, which is about 1000000000000 (+1.02, 95 % interval +0.82 to +1.22, "
            "p < 0.0001)"
        )

    def test_values_and_bounds_have_as_many_digits_as_tell_them_apart(self) -> None:
        said = self.text(self.estimate(0.0003, 0.0001, 0.7))
        assert "from 0.7 to 0.7003 (+0.04 %, 95 % interval +0.03 % to +0.06 %," in said
        usual = self.estimate(0.03, 0.01, 1.0)
        assert range_text(experiment(), Catalogue().get("accuracy"), usual) == "+3.0 %, 95 % interval +2.0 % to +4.0 %"

    def test_an_interval_that_a_test_of_its_own_does_not_confirm_says_so(self) -> None:
        found = self.estimate(0.3, 0.2, 0.5)
        assert found.absolute is not None
        exact = structs.replace(found, absolute=structs.replace(found.absolute, p_value=0.064))
        assert self.text(exact, 0.064).endswith("to +100 %, but its test has p = 0.064")
