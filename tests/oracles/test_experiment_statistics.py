"""The statistics agree with what established libraries compute, case by case, at the stated tolerance.

Every kind of case is computed by the product; the few cases that are not have their reason in
``fixed_horizon_answers.reason_not_offered``. The environment variable BAROGRAPH_STATS_ORACLE names another file of the
same form.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.support import fixed_horizon_answers, sequential_answers

from barograph.stats import power, proportions, sample_ratio
from barograph.stats.comparison import (
    compare_means,
    equivalence,
    log_relative_difference,
    non_inferiority,
    relative_difference,
    welch,
)
from barograph.stats.estimate import Alternative, Effect
from barograph.stats.summary import RatioSummary, Summary

SHIPPED = Path(__file__).parents[1] / "data" / "experiment_statistics.json"
Case = dict[str, Any]
CASES: list[Case] = json.loads(Path(os.environ.get("BAROGRAPH_STATS_ORACLE", SHIPPED)).read_text(encoding="utf-8"))


def _arms(inputs: Case) -> tuple[Summary, Summary]:
    return Summary.from_values(inputs["treatment"]), Summary.from_values(inputs["control"])


def _ratios(inputs: Case) -> tuple[RatioSummary, RatioSummary]:
    return (
        RatioSummary.from_values(inputs["num_b"], inputs["den_b"]),
        RatioSummary.from_values(inputs["num_a"], inputs["den_a"]),
    )


def _told(effect: Effect | None) -> Case:
    assert effect is not None
    return {
        "estimate": effect.value, "se": effect.standard_error, "statistic": effect.statistic,
        "df": effect.degrees, "p_value": effect.p_value, "ci": [effect.low, effect.high],
    }  # fmt: skip


def _alternative(case: Case) -> Alternative:
    if "OneSidedTreatmentGreater" in case["source"] or case["inputs"].get("alternative") == "greater":
        return "greater"
    if "OneSidedTreatmentLesser" in case["source"] or case["inputs"].get("alternative") == "less":
        return "less"
    return "two-sided"


def _welch(case: Case) -> Case:
    return _told(
        compare_means(
            *_arms(case["inputs"]), alpha=case["inputs"].get("alpha", 0.05), alternative=_alternative(case)
        ).absolute
    )


def _welch_of_moments(case: Case) -> Case:
    arms = [
        Summary.from_variance(a["n"], a["mean"], a["sd"] ** 2)
        for a in map(case["inputs"].get, ("treatment", "control"))
    ]
    return _told(welch(arms[0], arms[1])[0])


def _relative(case: Case) -> Case:
    return _told(relative_difference(*_arms(case["inputs"]), alpha=case["inputs"]["alpha"])[0])


def _logarithmic(arm: Summary, baseline: Summary, alpha: float) -> Case:
    absolute, _ = welch(arm, baseline, alpha=alpha)
    relative, _ = log_relative_difference(arm, baseline, alpha=alpha)
    assert relative is not None
    return {
        "control": baseline.mean, "treatment": arm.mean, "effect_size": absolute.value,
        "effect_size_ci_lower": absolute.low, "effect_size_ci_upper": absolute.high,
        "rel_effect_size": relative.value, "rel_effect_size_ci_lower": relative.low,
        "rel_effect_size_ci_upper": relative.high, "pvalue": absolute.p_value, "statistic": absolute.statistic,
    }  # fmt: skip


def _mean_logarithmic(case: Case) -> Case:
    return _logarithmic(*_arms(case["inputs"]), case["inputs"].get("alpha", 0.05))


def _ratio_logarithmic(case: Case) -> Case:
    arm, baseline = _ratios(case["inputs"])
    return _logarithmic(arm.linearised(), baseline.linearised(), case["inputs"]["alpha"])


def _non_inferiority(case: Case) -> Case:
    i = case["inputs"]
    return _told(non_inferiority(*_arms(i), i["margin"], higher_is_better=i["higher_is_better"])[0])


def _equivalence(case: Case) -> Case:
    low, high = equivalence(*_arms(case["inputs"]), case["inputs"]["low"], case["inputs"]["upp"])
    assert low.p_value is not None
    assert high.p_value is not None
    return {"p_value": max(low.p_value, high.p_value), "lower": _told(low), "upper": _told(high)}


def _ratio(case: Case) -> Case:
    """The delta method itself: at so few units ``compare_ratios`` takes Fieller's intervals, which are wider."""
    arm, baseline = _ratios(case["inputs"])
    compare = relative_difference if case["kind"] == "ratio_relative_delta" else welch
    told = _told(compare(arm.linearised(), baseline.linearised(), alpha=case["inputs"]["alpha"])[0])
    return told | {
        "mean_control": baseline.ratio, "mean_treatment": arm.ratio,
        "var_control": baseline.linearised().variance, "var_treatment": arm.linearised().variance,
    }  # fmt: skip


def _sample_size(case: Case) -> Case:
    i = case["inputs"]
    return {
        "n1": power.sample_size(
            i["effect_size_cohen_d"], alpha=i["alpha"], power=i["power"], ratio=i["ratio_n2_over_n1"],
            distribution="normal" if case["kind"] == "sample_size_normal" else "t",
        )
    }  # fmt: skip


def _sample_size_relative(case: Case) -> Case:
    i = case["inputs"]
    effect = i["mean"] * i["rel_effect_size"]
    n = power.sample_size(effect / math.sqrt(i["var"]), alpha=i["alpha"], power=i["power"])
    return {"results": [{"power": i["power"], "effect_size": effect, "rel_effect_size": i["rel_effect_size"],
                         "n_obs": math.ceil(2 * n)}]}  # fmt: skip


def _detectable(case: Case) -> Case:
    i = case["inputs"]
    n = i["n_per_arm"]
    return {"effect_size_cohen_d": power.detectable_effect(n, n, alpha=i["alpha"], power=i["power"])}


def _detectable_relative(case: Case) -> Case:
    i = case["inputs"]
    results = []
    for total in i["n_obs"]:
        effect = power.detectable_effect(total / 2, total / 2, alpha=i["alpha"], power=i["power"]) * math.sqrt(i["var"])
        results.append(
            {"power": i["power"], "effect_size": effect, "rel_effect_size": effect / i["mean"], "n_obs": total}
        )
    return {"results": results}


def _pooled(case: Case) -> Case:
    x, n, baseline_x, baseline_n = fixed_horizon_answers.shares(case)
    statistic, p_value = proportions.score_test(x, n, baseline_x, baseline_n)
    return {"estimate": x / n - baseline_x / baseline_n, "statistic": statistic, "p_value": p_value}


def _chi_squared(case: Case) -> Case:
    statistic, degrees, p_value = sample_ratio.chi_squared(case["inputs"]["counts"], case["inputs"]["weights"])
    return {"statistic": statistic, "df": degrees, "p_value": p_value}


def _binomial(case: Case) -> Case:
    arms = [(c, w) for c, w in zip(case["inputs"]["counts"], case["inputs"]["weights"], strict=True) if w]
    share = arms[0][1] / sum(weight for _, weight in arms)
    return {"p_value": sample_ratio.binomial_exact(arms[0][0], sum(count for count, _ in arms), share)}


OFFERED: dict[str, Callable[[Case], Case]] = {
    **fixed_horizon_answers.ANSWERS,
    **sequential_answers.ANSWERS,
    "mde_t": _detectable,
    "mde_tt": _detectable_relative,
    "mean_absolute_delta_welch": _welch,
    "mean_relative_delta_welch": _relative,
    "mean_welch": _welch,
    "mean_welch_logrel": _mean_logarithmic,
    "mean_welch_onesided": _welch,
    "mean_welch_summary": _welch_of_moments,
    "noninferiority_welch": _non_inferiority,
    "prop_one_sample_ci_wilson": lambda case: {
        "ci": proportions.wilson_interval(case["inputs"]["x"], case["inputs"]["n"], case["inputs"]["alpha"])
    },
    "prop_z_pooled": _pooled,
    "ratio_absolute_delta": _ratio,
    "ratio_delta_logrel": _ratio_logarithmic,
    "ratio_relative_delta": _ratio,
    "sample_size_normal": _sample_size,
    "sample_size_t": _sample_size,
    "sample_size_tt": _sample_size_relative,
    "srm_binomial_exact": _binomial,
    "srm_chi2": _chi_squared,
    "tost_welch": _equivalence,
}

LIBRARY_IS_WRONG = (
    "do not match",
    "anchor declines",
    "pins what the anchor answers",
    "pins the library",
    "library answers nan",
)
LIBRARY_HAS_NO_NUMBER = "NaN is what the library answers"  # in some keys; the others count


LIBRARY_IS_COARSE_FROM = 100_000  # units an arm: statsmodels' root for a million is off in the fifth digit


def _wrong(case: Case) -> bool:
    note = case.get("note", "")
    if note.startswith(LIBRARY_HAS_NO_NUMBER):
        return not any(map(fixed_horizon_answers.finite, case["expected"].values()))
    return any(words in note for words in LIBRARY_IS_WRONG) or fixed_horizon_answers.library_errs(case)


def _coarse(case: Case) -> bool:
    return case["kind"] == "mde_t" and case["inputs"]["n_per_arm"] >= LIBRARY_IS_COARSE_FROM


def _power_by_quadrature(effect: float, n: int) -> float:
    """The power of a two-sided t test, from the normal distribution given the sample's standard deviation."""
    degrees = 2 * n - 2
    noncentrality, critical = effect * math.sqrt(n / 2), stats.t.isf(0.025, degrees)
    reach = 12 / math.sqrt(2 * degrees)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    deviation = 1 + reach * nodes
    logarithm = (degrees - 1) * np.log(deviation) - degrees * deviation**2 / 2
    weights = weights * np.exp(logarithm - logarithm.max())
    power_given = stats.norm.sf(critical * deviation - noncentrality) + stats.norm.sf(
        critical * deviation + noncentrality
    )
    return float(weights @ power_given / weights.sum())


def _compare(got: object, expected: object, rtol: float | str, where: str) -> None:
    if isinstance(expected, dict):
        assert isinstance(got, dict), where
        for key, value in expected.items():
            _compare(got[key], value, rtol, f"{where}.{key}")
    elif isinstance(expected, list):
        assert isinstance(got, list | tuple), where
        assert len(got) == len(expected), where
        for index, value in enumerate(expected):
            _compare(got[index], value, rtol, f"{where}[{index}]")
    elif isinstance(expected, bool):
        assert got is expected, where
    else:
        assert isinstance(got, int | float), f"{where}: {got}"
        # A relative effect that a library makes as "quotient less one" carries the rounding of one.
        rounding = 4 * sys.float_info.epsilon if ".rel_effect_size" in where else 1e-300
        if isinstance(rtol, str):  # "monte-carlo, abs 0.03": what a library simulated or read off a grid
            assert got == pytest.approx(float(expected), rel=0, abs=float(rtol.rpartition("abs ")[2])), where
        else:
            assert got == pytest.approx(float(expected), rel=rtol, abs=rounding), where


def test_every_kind_is_computed() -> None:
    kinds = {case["kind"] for case in json.loads(SHIPPED.read_text(encoding="utf-8"))}
    assert kinds == set(OFFERED)


def test_another_file_brings_no_kind_that_nobody_knows() -> None:
    assert {case["kind"] for case in CASES} <= set(OFFERED)


def test_only_the_wrong_unit_of_analysis_is_not_offered() -> None:
    left_out = [case for case in CASES if fixed_horizon_answers.reason_not_offered(case)]
    assert {case["kind"] for case in left_out} <= {"cluster_robust_query_level"}
    for case in left_out:  # its error is too small, or too large, by a factor
        ours = OFFERED[case["kind"]](case)
        assert ours["estimate"] == pytest.approx(case["expected"]["estimate"], rel=case["rtol"])
        assert ours["se"] != pytest.approx(case["expected"]["se"], rel=0.01)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if not (_wrong(case) or _coarse(case) or fixed_horizon_answers.reason_not_offered(case))],
    ids=lambda case: str(case["id"]),
)
def test_agrees_with_the_library(case: Case) -> None:
    skipped = {"error"} | fixed_horizon_answers.superseded_keys(case)
    expected = {key: value for key, value in case["expected"].items() if key not in skipped}
    if case.get("note", "").startswith(LIBRARY_HAS_NO_NUMBER):
        expected = {key: value for key, value in expected.items() if fixed_horizon_answers.finite(value)}
    assert expected
    _compare(OFFERED[case["kind"]](case), expected, case["rtol"], case["id"])


@pytest.mark.parametrize("case", [case for case in CASES if _wrong(case)], ids=lambda case: str(case["id"]))
def test_gives_an_answer_or_none_where_the_library_is_wrong(case: Case) -> None:
    got = OFFERED[case["kind"]](case)
    flat = [x for value in got.values() for x in (value if isinstance(value, list | tuple) else [value])]
    assert not any(isinstance(x, float) and math.isnan(x) for x in flat)
    effect = got.get("estimate", got.get("effect_size"))
    inputs = case["inputs"]
    if "treatment" in inputs:
        means = [sum(inputs[arm]) / len(inputs[arm]) for arm in ("treatment", "control")]
        assert math.copysign(1, effect) == math.copysign(1, means[0] - means[1]) or effect == means[0] - means[1]


@pytest.mark.parametrize("case", [case for case in CASES if _coarse(case)], ids=lambda case: str(case["id"]))
def test_is_nearer_to_the_truth_than_the_library_for_very_many_units(case: Case) -> None:
    n, wanted = case["inputs"]["n_per_arm"], case["inputs"]["power"]
    assert case["inputs"]["alpha"] == 0.05
    ours, theirs = _detectable(case)["effect_size_cohen_d"], case["expected"]["effect_size_cohen_d"]
    assert ours == pytest.approx(theirs, rel=2e-4)
    assert _power_by_quadrature(ours, n) == pytest.approx(wanted, rel=1e-9)
    assert abs(_power_by_quadrature(ours, n) - wanted) <= abs(_power_by_quadrature(theirs, n) - wanted)
