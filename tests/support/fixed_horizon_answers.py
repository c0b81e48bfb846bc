"""What the product answers to the oracle's fixed-horizon cases: one function a kind, from a case to its keys.

Read by ``tests/oracles/test_experiment_statistics.py``, which compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from barograph.stats import exact, multiplicity, proportion_tests, proportions
from barograph.stats.comparison import relative_difference, welch
from barograph.stats.estimate import Effect

Case = dict[str, Any]
Counts = tuple[int, int, int, int]


def shares(case: Case) -> Counts:
    """Successes and units of the treatment, then of the control."""
    i = case["inputs"]
    return i["x_treatment"], i["n_treatment"], i["x_control"], i["n_control"]


def adjusted(adjust: Callable[[list[float]], list[float]]) -> Callable[[Case], Case]:
    """The adjusted p-values, and what is rejected."""

    def answer(case: Case) -> Case:
        values = adjust(case["inputs"]["p_values"])
        return {"adjusted": values, "reject": [p <= case["inputs"].get("alpha", 0.05) for p in values]}

    return answer


def effect_keys(effect: Effect | None) -> Case:
    """An effect under the names of the oracle."""
    if effect is None:
        return {}
    return {
        "estimate": effect.value, "se": effect.standard_error, "statistic": effect.statistic, "df": effect.degrees,
        "ci": [effect.low, effect.high], "p_value": effect.p_value,
    }  # fmt: skip


def tea_tasting_keys(arm: float, baseline: float, absolute: Effect, relative: Effect | None) -> Case:
    """Two effects under the names of tea-tasting."""
    return {
        "control": baseline, "treatment": arm, "effect_size": absolute.value, "effect_size_ci_lower": absolute.low,
        "effect_size_ci_upper": absolute.high, "pvalue": absolute.p_value, "statistic": absolute.statistic,
        "rel_effect_size": relative.value if relative else None,
        "rel_effect_size_ci_lower": relative.low if relative else None,
        "rel_effect_size_ci_upper": relative.high if relative else None,
    }  # fmt: skip


def _tests_of_shares(test: Callable[[int, int, int, int], Effect]) -> Callable[[Case], Case]:
    def answer(case: Case) -> Case:
        x, n, y, m = shares(case)
        relative = Effect(value=x / n / (y / m) - 1) if y else None
        return tea_tasting_keys(x / n, y / m, test(x, n, y, m), relative)

    return answer


def _pooled(case: Case) -> Case:
    x, n, y, m = shares(case)
    return tea_tasting_keys(x / n, y / m, *proportion_tests.pooled_test(x, n, y, m, case["inputs"]["alpha"]))


def _interval(interval: Callable[[int, int, int, int, float], tuple[float, float]]) -> Callable[[Case], Case]:
    return lambda case: {"ci": interval(*shares(case), case["inputs"]["alpha"])}


def _t_of_shares(case: Case) -> Case:
    x, n, y, m = shares(case)
    arms = proportion_tests.share_summary(x, n), proportion_tests.share_summary(y, m)
    compare = welch if case["inputs"]["difference_type"] == "absolute" else relative_difference
    return effect_keys(compare(*arms, alpha=case["inputs"]["alpha"])[0])


ANSWERS: dict[str, Callable[[Case], Case]] = {
    "adjust_bonferroni": adjusted(multiplicity.bonferroni),
    "adjust_fdr_bh": adjusted(multiplicity.benjamini_hochberg),
    "adjust_fdr_by": adjusted(multiplicity.benjamini_yekutieli),
    "adjust_holm": adjusted(multiplicity.holm),
    "adjust_holm-sidak": adjusted(multiplicity.holm_sidak),
    "adjust_hommel": adjusted(multiplicity.hommel),
    "adjust_sidak": adjusted(multiplicity.sidak),
    "adjust_simes-hochberg": adjusted(multiplicity.hochberg),
    "prop_absolute_delta_welch": _t_of_shares,
    "prop_barnard": lambda case: {"p_value": exact.barnard_exact(*shares(case))},
    "prop_boschloo": lambda case: {"p_value": exact.boschloo_exact(*shares(case))},
    "prop_diff_ci_agresti-caffo": _interval(proportions.agresti_caffo_interval),
    "prop_diff_ci_newcomb": _interval(proportions.newcombe_interval),
    "prop_diff_ci_score": _interval(proportions.miettinen_nurminen_interval),
    "prop_diff_ci_wald": _interval(proportions.wald_interval),
    "prop_fisher": lambda case: {"p_value": exact.fisher_exact(*shares(case))},
    "prop_log-likelihood_tt": _tests_of_shares(proportion_tests.log_likelihood_test),
    "prop_norm_tt": _pooled,
    "prop_one_sample_ci_clopper_pearson": lambda case: {
        "ci": exact.clopper_pearson_interval(case["inputs"]["x"], case["inputs"]["n"], case["inputs"]["alpha"])
    },
    "prop_pearson_tt": _tests_of_shares(proportion_tests.pearson_test),
    "prop_relative_delta_welch": _t_of_shares,
    "prop_ztest_spotify": lambda case: effect_keys(proportion_tests.wald_test(*shares(case), case["inputs"]["alpha"])),
}


def library_errs(case: Case) -> bool:
    """Whether the library that made the case is known to be wrong here, though its note does not say so.

    statsmodels' score interval takes the baseline's successes for its units in one coefficient of the cubic, which
    shows wherever the baseline has a failure: its bounds are not those that its own test rejects at alpha.
    """
    i = case["inputs"]
    return bool(case["kind"] == "prop_diff_ci_score" and i["x_control"] != i["n_control"])


def finite(value: object) -> bool:
    """Whether the oracle gives a number here, and not the name of one that is none."""
    return not isinstance(value, str) and not (isinstance(value, float) and not math.isfinite(value))
