"""What the product answers to the oracle's fixed-horizon cases: one function a kind, from a case to its keys.

Read by ``tests/oracles/test_experiment_statistics.py``, which compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from barograph.stats import (
    covariate,
    exact,
    multiplicity,
    planning,
    power,
    proportion_tests,
    proportions,
    quantiles,
    ranks,
    regression,
    resampling,
    robust,
)
from barograph.stats.comparison import log_relative_difference, relative_difference, welch
from barograph.stats.estimate import Effect
from barograph.stats.joint import PairSummary
from barograph.stats.summary import RatioSummary

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


def _pairs(case: Case) -> tuple[PairSummary, PairSummary]:
    i = case["inputs"]
    return PairSummary.from_values(i["pre_b"], i["post_b"]), PairSummary.from_values(i["pre_a"], i["post_a"])


def _cuped(case: Case) -> Case:
    arm, baseline = _pairs(case)
    estimate = covariate.compare_cuped(arm, baseline, alpha=case["inputs"].get("alpha", 0.05))
    adjusted_arm, adjusted_baseline = covariate.adjusted_arms(arm, baseline)
    effect = estimate.relative if case["kind"] == "cuped_relative" else estimate.absolute
    return effect_keys(effect) | {
        "theta": covariate.common_slope(arm, baseline),
        "var_control": adjusted_baseline.variance, "var_treatment": adjusted_arm.variance,
    }  # fmt: skip


def _cuped_logarithmic(case: Case) -> Case:
    alpha = case["inputs"]["alpha"]
    arm, baseline = covariate.adjusted_arms(*_pairs(case))
    relative, _ = log_relative_difference(arm, baseline, alpha=alpha)
    return tea_tasting_keys(arm.mean, baseline.mean, welch(arm, baseline, alpha=alpha)[0], relative)


def _regression(case: Case) -> Case:
    i = case["inputs"]
    return effect_keys(
        regression.regression_adjustment(
            i["pre_b"], i["post_b"], i["pre_a"], i["post_a"], design=i["design"], covariance=i["cov"]
        )
    )


def _clustered(case: Case) -> Case:
    i = case["inputs"]
    arm, baseline = RatioSummary.from_values(i["num_b"], i["den_b"]), RatioSummary.from_values(i["num_a"], i["den_a"])
    return effect_keys(regression.cluster_robust(arm, baseline)) | {
        "n_rows": sum(i["den_a"]) + sum(i["den_b"]), "n_clusters": arm.n + baseline.n,
    }  # fmt: skip


def _bootstrap(case: Case) -> Case:
    i = case["inputs"]
    seed = int(i["seed"].split("(")[1].rstrip(")"))
    return effect_keys(
        resampling.bootstrap_difference(i["treatment"], i["control"], resamples=i["n_resamples"], seed=seed)
    )


def _ranked(case: Case) -> Case:
    i = case["inputs"]
    exact_or_not = {"exact": True, "asymptotic": False}.get(i.get("method", ""))
    effect = ranks.mann_whitney(i["treatment"], i["control"], exact=exact_or_not)
    return {
        "u_treatment": effect.statistic, "statistic": effect.statistic, "p_value": effect.p_value,
        "pvalue": effect.p_value, "treatment": effect.value, "control": 1 - effect.value,
        "effect_size": 2 * effect.value - 1,
    }  # fmt: skip


def _brunner_munzel(case: Case) -> Case:
    effect, _ = ranks.brunner_munzel(case["inputs"]["treatment"], case["inputs"]["control"])
    # scipy's statistic is positive where the second sample is above the first
    return effect_keys(effect) | {"statistic": -effect.statistic if effect.statistic is not None else None}


def _quantile(case: Case) -> Case:
    i = case["inputs"]
    return {
        "p_value": quantiles.quantile_test(i["sample"], i["p"], i["h0"]),
        "ci": quantiles.quantile_interval(i["sample"], i["p"], i["alpha"]),
    }


def _trimmed(case: Case) -> Case:
    i = case["inputs"]
    return effect_keys(robust.trimmed_welch(i["treatment"], i["control"], trim=i["trim"])[0])


def _winsorised(case: Case) -> Case:
    """The rule of the cap alone: the library caps each arm by itself, which a comparison must not."""
    i = case["inputs"]
    return {
        arm: robust.winsorised(i[arm], robust.upper_cap(i[arm], share=i["upper"])).tolist()
        for arm in ("control", "treatment")
    }


def _sample_size_of_shares(case: Case) -> Case:
    """The source halves a two-sided risk and so does the library: what it computes is the size for half the risk."""
    i = case["inputs"]
    baseline_units = planning.sample_size_of_shares(
        i["p_treatment"], i["p_control"], alpha=i["alpha_two_sided"] / 2, power=i["power"], ratio=1 / i["ratio"]
    )
    return {"n": baseline_units / i["ratio"]}


def _sample_size_arcsine(case: Case) -> Case:
    i = case["inputs"]
    effect = planning.arcsine_effect(i["p_treatment"], i["p_control"])
    n = power.sample_size(
        effect, alpha=i["alpha_two_sided"], power=i["power"], ratio=i["ratio"], distribution="normal"
    )  # fmt: skip
    return {"effect_h": effect, "n1": n}


def _power_of_shares(case: Case) -> Case:
    i = case["inputs"]
    n = i["n_per_arm"]
    return {"power": planning.power_of_shares(i["p_control"] + i["diff"], i["p_control"], n, n, alpha=i["alpha"])}


ANSWERS: dict[str, Callable[[Case], Case]] = {
    "adjust_bonferroni": adjusted(multiplicity.bonferroni),
    "adjust_fdr_bh": adjusted(multiplicity.benjamini_hochberg),
    "adjust_fdr_by": adjusted(multiplicity.benjamini_yekutieli),
    "adjust_holm": adjusted(multiplicity.holm),
    "adjust_holm-sidak": adjusted(multiplicity.holm_sidak),
    "adjust_hommel": adjusted(multiplicity.hommel),
    "adjust_sidak": adjusted(multiplicity.sidak),
    "adjust_simes-hochberg": adjusted(multiplicity.hochberg),
    "bootstrap_bca_mean_diff": _bootstrap,
    "brunner_munzel": _brunner_munzel,
    "cluster_robust_query_level": _clustered,
    "cuped_absolute": _cuped,
    "cuped_logrel": _cuped_logarithmic,
    "cuped_relative": _cuped,
    "mann_whitney": _ranked,
    "power_proportions": _power_of_shares,
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
    "quantile_ci_binomial": _quantile,
    "regression_adjustment": _regression,
    "sample_size_proportions": _sample_size_of_shares,
    "sample_size_proportions_arcsine": _sample_size_arcsine,
    "trimmed_welch": _trimmed,
    "winsorize_upper_5pct": _winsorised,
}


def reason_not_offered(case: Case) -> str:
    """Why a single case of an offered kind is not: empty for all others."""
    if case["kind"] == "cluster_robust_query_level" and "cov_type='cluster'" not in case["source"]:
        return "takes the queries of one unit for independent: the wrong unit of analysis, offered nowhere"
    return ""


def library_errs(case: Case) -> bool:
    """Whether the library that made the case is known to be wrong here, though its note does not say so.

    statsmodels' score interval takes the baseline's successes for its units in one coefficient of the cubic, which
    shows wherever the baseline has a failure: its bounds are not those that its own test rejects at alpha.
    """
    i = case["inputs"]
    return bool(case["kind"] == "prop_diff_ci_score" and i["x_control"] != i["n_control"])


def superseded_keys(case: Case) -> set[str]:
    """The keys that the library itself computes by another formula now: gbstats before and after its 0.8.0."""
    return {"ci", "p_value"} if "approximation for the relative variance" in case.get("note", "") else set()


def finite(value: object) -> bool:
    """Whether the oracle gives a number here, and not the name of one that is none."""
    return not isinstance(value, str) and not (isinstance(value, float) and not math.isfinite(value))
