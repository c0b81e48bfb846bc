"""What the package answers to the oracle's cases that are looked at again and again, are Bayesian, or adapt.

One function a kind, from a case to the keys that are expected of it; read by the oracle's test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from barograph.stats import sample_ratio
from barograph.stats.bandit import NormalBelief, chance_best_beta, chance_best_normal, thompson_weights
from barograph.stats.bayes import BetaPosterior, NormalPrior, Posterior, compare_shares, normal_effect
from barograph.stats.comparison import relative_difference
from barograph.stats.estimate import Alternative
from barograph.stats.interleaving import sign_test
from barograph.stats.sequential import asymptotic, betting, mixtures
from barograph.stats.sequential.group_sequential import group_sequential_bounds, power_family
from barograph.stats.sequential.quantiles import quantile_p_value
from barograph.stats.sequential.sample_ratio import sequential_sample_ratio
from barograph.stats.summary import Summary

Case = dict[str, Any]

LIBRARY_CONCENTRATION = 10_000.0  # the library has one for all sizes of a mismatch, unless it is given another
LIBRARY_SEARCHES_TO = 0.4999  # the library's search for a one-sided p-value ends here; a p-value can be larger


def _summaries(inputs: Case) -> tuple[Summary, Summary]:
    """The treatment and the control, from values or from counts of successes (with n below their variance)."""
    if "treatment" in inputs:
        return Summary.from_values(inputs["treatment"]), Summary.from_values(inputs["control"])
    arms = []
    for arm in ("treatment", "control"):
        n, share = inputs[f"n_{arm}"], inputs[f"x_{arm}"] / inputs[f"n_{arm}"]
        arms.append(Summary.from_variance(n, share, share * (1 - share)))
    return arms[0], arms[1]


def _effect(inputs: Case) -> tuple[float, float]:
    """The effect of the case's difference type and its variance."""
    arm, baseline = _summaries(inputs)
    if inputs.get("difference_type") != "relative":
        return arm.mean - baseline.mean, arm.mean_variance + baseline.mean_variance
    relative, _ = relative_difference(arm, baseline)
    assert relative is not None
    assert relative.standard_error is not None
    return relative.value, relative.standard_error**2


def _asymptotic(case: Case) -> Case:
    i = case["inputs"]
    alternative: Alternative = "two-sided"
    if "OneSided" in case["source"]:
        alternative = "greater" if "TreatmentGreater" in case["source"] else "less"
    arms = _summaries(i)
    value, variance = _effect(i)
    options = {"alpha": i["alpha"], "tuning_n": i["tuning_n"]}
    found = asymptotic.confidence_sequence(value, variance, arms[0].n + arms[1].n, alternative=alternative, **options)
    assert found.p_value is not None
    one_sided = alternative != "two-sided"
    return {
        "estimate": found.value, "ci": [found.low, found.high],
        "p_value": min(found.p_value, LIBRARY_SEARCHES_TO) if one_sided else found.p_value,
        "rho": asymptotic.mixing_rate(i["alpha"], i["tuning_n"], one_sided=one_sided),
    }  # fmt: skip


def _bernoulli(case: Case) -> Case:
    i = case["inputs"]
    return {
        "ci": mixtures.bernoulli_sequence(
            i["successes"], i["trials"], i["t_opt"], alpha=i["alpha"], alpha_opt=i["alpha_opt"]
        )
    }


def _bounded(sequence: Callable[[Case, Any], betting.Sequence]) -> Callable[[Case], Case]:
    def answer(case: Case) -> Case:
        found = sequence(case["inputs"], np.array(case["inputs"]["x"]))
        at = [n - 1 for n in case["expected"]["at_n"]]
        return {
            "lower_at": found.low[at].tolist(), "upper_at": found.high[at].tolist(), "at_n": [n + 1 for n in at],
        }  # fmt: skip

    return answer


def _mixture(case: Case) -> Case:
    i = case["inputs"]
    one_sided = {"alpha_opt": i["alpha_opt"], "one_sided": i["is_one_sided"]}
    if case["kind"] == "normal_log_mixture":
        return {"log_mixture": mixtures.normal_log_mixture(i["s"], i["v"], i["v_opt"], **one_sided)}
    if case["kind"] == "normal_mixture_bound":
        return {"bound": mixtures.normal_mixture_bound(i["v"], i["v_opt"], alpha=i["alpha"], **one_sided)}
    return {"bound": mixtures.beta_binomial_bound(i["v"], i["v_opt"], i["g"], i["h"], alpha=i["alpha"], **one_sided)}


def _gamma_exponential(case: Case) -> Case:
    i = case["inputs"]
    bound = mixtures.gamma_exponential_bound(
        i["v"], i["v_opt"], alpha=i["alpha"], scale=i["c"], alpha_opt=i["alpha_opt"]
    )
    return {"bound": float(bound[0])}


def _stitched(case: Case) -> Case:
    i = case["inputs"]
    return {
        "bound": mixtures.stitched_bound(i["v"], i["v_min"], alpha=i["alpha"], scale=i["c"], s=i["s"], eta=i["eta"])
    }


def _quantile(case: Case) -> Case:
    i = case["inputs"]
    p_value = quantile_p_value(
        np.array(i["a"]), np.array(i["b"]), i["quantile"], t_opt=i["t_opt"], alpha_opt=i["alpha_opt"]
    )
    return {"p_value": p_value}


def _group_sequential(case: Case) -> Case:
    i = case["inputs"]
    bounds = group_sequential_bounds(
        i["information"], alpha=i["alpha"], sides=i["sides"], spending=power_family(i["power_family_phi"])
    )
    farthest = [-8.0 for _ in bounds]
    return {
        "za": farthest, "ya": [z * b.deviation for z, b in zip(farthest, bounds, strict=True)],
        "zb": [b.z for b in bounds], "yb": [b.score for b in bounds], "pe": [b.spent for b in bounds],
        "pd": [b.spent_here for b in bounds], "stdv": [b.increment for b in bounds],
        "sdproc": [b.deviation for b in bounds], "nints": [b.intervals for b in bounds],
        "information_ratio": [b.information for b in bounds],
    }  # fmt: skip


def _sequential_ratio(case: Case) -> Case:
    i = case["inputs"]
    weights = i["null_probabilities"]
    if "dirichlet_concentration_k" not in i:
        found = sequential_sample_ratio(i["increments"], weights, concentrations=(LIBRARY_CONCENTRATION,))
        return {
            "p_values": list(found.p_values), "bayes_factors": [math.exp(one) for one in found.log_evidence],
            "posterior_prob_srm": found.probability,
        }  # fmt: skip
    found = sequential_sample_ratio(i["increments"], weights, concentrations=(i["dirichlet_concentration_k"],))
    return {
        "p_value_unclipped_min1": [min(1.0, math.exp(-one)) for one in found.log_evidence],
        "odds": math.exp(found.log_evidence[-1]),
    }  # fmt: skip


def _ratio_auto(case: Case) -> Case:
    counts = case["inputs"]["counts"]
    found = sample_ratio.sample_ratio(counts, case["inputs"]["weights"], corrected=True)
    return {"control": counts[0], "treatment": counts[1], "pvalue": found.p_value}


def _beta_binomial(case: Case) -> Case:
    i = case["inputs"]
    prior = (float(i["prior"][0]), float(i["prior"][1]))
    arm = BetaPosterior.of(i["x_treatment"], i["n_treatment"], prior)
    baseline = BetaPosterior.of(i["x_control"], i["n_control"], prior)
    found = compare_shares(arm, baseline)
    return {
        "p_treatment_better": found.chance, "expected_loss_choose_treatment": found.loss_arm,
        "expected_loss_choose_control": found.loss_baseline, "ci_treatment": arm.interval(),
    }  # fmt: skip


def _normal_effect(case: Case) -> Case:
    i = case["inputs"]
    stated = i["prior"]
    prior = NormalPrior(mean=stated["mean"], deviation=math.sqrt(stated["variance"])) if stated["proper"] else None
    if prior and stated["type"] == "relative" and i["difference_type"] == "absolute":
        prior = prior.scaled(_summaries(i)[1].mean)
    value, variance = _effect(i)
    found: Posterior = normal_effect(value, math.sqrt(variance), prior, alpha=i["alpha"])
    return {
        "chance_to_win": found.chance, "estimate": found.value, "ci": [found.low, found.high],
        "risk": [found.loss_baseline, found.loss_arm], "posterior_sd": found.deviation,
    }  # fmt: skip


def _beta_best(case: Case) -> Case:
    arms = [BetaPosterior(a=a, b=b) for a, b in case["inputs"]["posteriors_alpha_beta"]]
    return {
        "p_best": chance_best_beta(arms), "posterior_mean": [one.mean for one in arms],
        "posterior_var": [one.variance for one in arms],
    }  # fmt: skip


def _normal_best(case: Case) -> Case:
    i = case["inputs"]
    arms = [NormalBelief(mean=m, variance=v) for m, v in zip(i["means"], i["variances"], strict=True)]
    return {"p_best": chance_best_normal(arms)}


def _weights(case: Case) -> Case:
    i = case["inputs"]
    arms = [
        NormalBelief.of(
            Summary.from_variance(a["n"], a["mean"], a["variance"]), i["prior"]["mean"], i["prior"]["variance"]
        )
        for a in i["arms"]
    ]
    chances = chance_best_normal(arms, places=2 if i["top_two"] else 1)
    return {
        "weights": thompson_weights(chances, exploration=i["min_weight"]),
        "best_arm_probabilities": chance_best_normal(arms),
    }  # fmt: skip


def _sign(case: Case) -> Case:
    found = sign_test(case["inputs"]["wins_b"], case["inputs"]["wins_a"])
    return {"p_value": found.p_value, "preference": found.value, "ci": [found.low, found.high]}


ANSWERS: dict[str, Callable[[Case], Case]] = {
    "asymptotic_confidence_sequence": _asymptotic,
    "bayes_beta_binomial": _beta_binomial,
    "bayes_normal_effect": _normal_effect,
    "bernoulli_confidence_sequence": _bernoulli,
    "beta_binomial_mixture_bound": _mixture,
    "bounded_mean_cs_conjmix_empbern": _bounded(
        lambda i, x: betting.conjugate_bernstein(x, i["extra"]["v_opt"], alpha=i["alpha"])
    ),
    "bounded_mean_cs_hedged_betting": _bounded(
        lambda i, x: betting.hedged_betting(x, alpha=i["alpha"], grid=i["extra"]["breaks"])
    ),
    "bounded_mean_cs_predmix_empbern": _bounded(lambda i, x: betting.empirical_bernstein(x, alpha=i["alpha"])),
    "bounded_mean_cs_predmix_hoeffding": _bounded(lambda i, x: betting.hoeffding(x, alpha=i["alpha"])),
    "gamma_exponential_mixture_bound": _gamma_exponential,
    "group_sequential_alpha_spending": _group_sequential,
    "interleaving_sign_test": _sign,
    "normal_log_mixture": _mixture,
    "normal_mixture_bound": _mixture,
    "poly_stitching_bound": _stitched,
    "sequential_quantile_ab_p_value": _quantile,
    "sequential_srm_multinomial": _sequential_ratio,
    "srm_tt_auto": _ratio_auto,
    "thompson_beta_p_best": _beta_best,
    "thompson_normal_p_best": _normal_best,
    "thompson_normal_weights": _weights,
}
