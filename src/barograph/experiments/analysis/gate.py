"""The gate before any verdict: the sample ratio, the order of exposures and events, strangers, too few, and skew."""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct, structs

from barograph.core.units import UnitAnswer
from barograph.experiments.analysis.arms import Arm
from barograph.experiments.analysis.strangers import MOST_LEFT_OUT, Strangers, seen_in_two
from barograph.experiments.comparison import Finding
from barograph.experiments.design import Experiment
from barograph.stats.sample_ratio import SampleRatio, sample_ratio
from barograph.stats.sequential.asymptotic import UNKNOWN_SKEWNESS, skewness_of_means
from barograph.stats.sequential.sample_ratio import sequential_sample_ratio
from barograph_client.errors import shorten

# A mean skewed by so much moves each tail of a test at 5 % by a half of it and more (the first term of Edgeworth's
# expansion for Student's t, (2 z² + 1) phi(z) / 6 times the skewness); at 10:1 the two tails no longer make up for
# each other. Of lognormal values (s = 1) at 4:1 and 10:1, 5.2 % of 12,000 experiments were wrong at one look, and 5.4 %
# of 6,000 at four planned ones.
LARGEST_SKEW = 0.4
UNKNOWN = f"{UNKNOWN_SKEWNESS}, as they differ too little for their size"
ANY_TIME = "multinomial sequence by day, valid at any time"
MINDED_ALPHA = 0.01  # from where on it is told that the arms' units did not do as much before their exposure
_BEFORE = {"hour_before": "in the hour before their exposure", "any_before": "before their exposure, since the start"}
_DISORDER = "the clocks differ by arm, or one is exposed after what it is about"


class Obstacle(Struct, frozen=True):
    """What keeps from a verdict, and the ``repair``: what to do about it; empty where more units do."""

    what: str
    repair: str = ""


class Obstacles(Struct, frozen=True, kw_only=True):
    """What keeps from a verdict: ``faults``, which time does not mend, and ``waits``, which it does."""

    faults: tuple[Obstacle, ...] = ()
    waits: tuple[Obstacle, ...] = ()

    def verdict(self) -> tuple[Finding, str, str] | None:
        """What is said instead of a verdict, and the first repair; None where nothing keeps from one."""
        said = "; ".join(one.what for one in (*self.faults, *self.waits))
        if self.faults:
            return "not valid", f"Not valid: {said}", self.faults[0].repair
        return ("not settled", f"Not settled yet: {said}", self.waits[0].repair) if self.waits else None


def check_sample_ratio(experiment: Experiment, answer: UnitAnswer) -> SampleRatio:
    """Did the arms get their shares of units? By the test that fits how often the verdict is looked at.

    Each period between changes of weights is held against its own; where the test is made once, the worst of them
    times their number (Bonferroni), and at planned looks that times the number of looks.
    """
    keys = [variant.key for variant in experiment.variants]
    periods = sorted({one.period for one in answer.arms if one.arm in keys and one.units})
    tested = [sample_ratio(_counts(answer, keys, period), weights_in(experiment, period)) for period in periods]
    if not tested:
        return sample_ratio([0] * len(keys), weights_in(experiment, len(experiment.reweighted)))
    whole = tested[0]
    if len(tested) > 1 or experiment.decided_by != "fixed horizon":
        worst = min(tested, key=lambda one: 1.0 if one.p_value is None else one.p_value)
        looks = experiment.looks if experiment.decided_by == "group sequential" else 1
        p_value: float | None = min(1.0, looks * len(tested) * (1.0 if worst.p_value is None else worst.p_value))
        method = worst.method + (f", worst of {len(tested)} periods" if len(tested) > 1 else "")
        method += f", one of {looks} looks" if looks > 1 else ""
        if experiment.decided_by == "always valid":
            p_value, method = _at_any_time(experiment, answer, keys, periods), ANY_TIME
        whole = SampleRatio(
            counts=tuple(sum(one.counts[arm] for one in tested) for arm in range(len(keys))),
            expected=tuple(math.fsum(one.expected[arm] for one in tested) for arm in range(len(keys))),
            p_value=p_value, method=method,
        )  # fmt: skip
    return whole


def weights_in(experiment: Experiment, period: int) -> list[float]:
    """The arms' weights after so many changes of them."""
    if period < len(experiment.reweighted):
        before = experiment.reweighted[period].before
        return [before.get(variant.key, 0.0) for variant in experiment.variants]
    return [variant.weight for variant in experiment.variants]


class Disorder(Struct, frozen=True, kw_only=True):
    """Units of one arm did something before their exposure more often than those of another, and not by chance.

    ``many`` says that no number of the metric may be believed: else they are too few, or it may be chance after all.
    """

    sentence: str
    many: bool


def find_disorder(experiment: Experiment, answer: UnitAnswer, ratio: SampleRatio) -> Disorder | None:
    """Is the order of exposures and events the same in all arms? None where it is, or cannot be told.

    No arm can cause what its units did before, so those that did something then are shared out among the arms as all
    units are. Events that are stamped too early in one arm, or exposures too late, put all units that lose an event
    among them. They are held against the weights as the units are, in the hour before and at any time before, at alpha
    over these two. Where the units themselves did not get their shares, it cannot be told.
    """
    if ratio.mismatch:
        return None
    minded = None
    for name, when in _BEFORE.items():
        earlier = tuple(structs.replace(one, units=getattr(one, name)) for one in answer.arms)
        found = check_sample_ratio(experiment, structs.replace(answer, arms=earlier))
        p_value = 1.0 if found.p_value is None else min(1.0, len(_BEFORE) * found.p_value)
        shares = {
            count / whole: f"{count:,} of {whole:,} {experiment.unit_kind}s of {shorten(variant.key, 40)}"
            for count, whole, variant in zip(found.counts, ratio.counts, experiment.variants, strict=True)
            if whole
        }
        if p_value >= MINDED_ALPHA or len(shares) < 2:
            continue
        low, high = min(shares), max(shares)
        many = p_value < found.alpha and high - low > MOST_LEFT_OUT
        seen = f"{shares[high]} did something {when}, {shares[low]} (p = {p_value:.2g}), which no arm can cause"
        told = Disorder(sentence=f"{seen}: {'' if many else 'it is chance, or '}{_DISORDER}", many=many)
        if many:
            return told
        minded = minded or told
    return minded


def obstacles(
    experiment: Experiment, answer: UnitAnswer, ratio: SampleRatio, arms: Mapping[str, Arm], *, goes_on: bool = False
) -> Obstacles:
    """Why no verdict may be given, the sample ratio first. ``goes_on`` says that later data will count."""
    faults: list[Obstacle] = []
    kind = experiment.unit_kind
    if ratio.mismatch:
        got = ", ".join(
            f"{count:,} instead of {due:,.0f}" for count, due in zip(ratio.counts, ratio.expected, strict=True)
        )
        what = f"the arms did not get their shares of {kind}s: {got} (p = {ratio.p_value:.2g})"
        faults.append(Obstacle(what, f"find out what loses {kind}s of an arm, mend it, and start a new experiment"))
    disorder = find_disorder(experiment, answer, ratio)
    if disorder is not None and disorder.many:
        faults.append(Obstacle(disorder.sentence, "mend that and start a new experiment"))
    strangers = Strangers.of(experiment, answer)
    if strangers.many:
        faults.append(Obstacle(
            f"{strangers.units:,} of {strangers.everyone:,} {kind}s were exposed to arms that the definition does not "
            f"have: {', '.join(strangers.arms)}",
            "find what assigns by another definition, mend it, and start a new experiment",
        ))  # fmt: skip
    if seen_in_two(answer):
        faults.append(Obstacle(
            f"{answer.contaminated:,} of {strangers.everyone:,} {kind}s were seen in two arms",
            f"find out why the same {kind} is assigned twice, mend it, and start a new experiment",
        ))  # fmt: skip
    few = {key: arm.units for key, arm in arms.items() if arm.units < experiment.minimum_units}
    if few:
        key, units = min(few.items(), key=lambda item: item[1])
        few_text = f"{key} has {units:,} {kind}s with a measurement, of {experiment.minimum_units} at least"
        return Obstacles(faults=tuple(faults), waits=(Obstacle(few_text),))
    waits = [
        Obstacle(
            f"every {kind} of {key} has the same value",
            f"start a new experiment with a metric in which {kind}s differ",
        )
        for key, arm in arms.items()
        if not arm.varies
    ]  # fmt: skip
    if not waits and experiment.decided_by != "always valid":  # a sequence has a gate of its own
        skewed = _too_skewed(experiment, arms, goes_on)
        if skewed is not None:
            (waits if goes_on and skewed.what != UNKNOWN else faults).append(skewed)
    return Obstacles(faults=tuple(faults), waits=tuple(waits))


def unknown_skewness(kind: str) -> Obstacle:
    """More units do not mend it: what the store holds of each value has lost the digits in which they differ."""
    return Obstacle(UNKNOWN, f"record each {kind}'s values less their usual level, in a new experiment")


def _too_skewed(experiment: Experiment, arms: Mapping[str, Arm], goes_on: bool) -> Obstacle | None:
    if any(arm.successes is not None for arm in arms.values()):
        return None
    known = [arm.skew for arm in arms.values() if arm.skew is not None]
    if len(known) < len(arms):
        return unknown_skewness(experiment.unit_kind)
    fewest = min(arms.values(), key=lambda arm: arm.values.n).values
    skewest = max(known, key=abs)
    left = skewness_of_means((fewest, fewest), (skewest, skewest))
    if left <= LARGEST_SKEW:
        return None
    lower = "cap the metric lower" if experiment.primary_metric in experiment.caps else "cap the metric"
    return Obstacle(
        f"a few large values decide (skewness of the means {left:.2g}, of {LARGEST_SKEW} at most)",
        f"{lower} in a new experiment, or give it more {experiment.unit_kind}s",
    )


def _counts(answer: UnitAnswer, keys: list[str], period: int) -> list[int]:
    return [sum(one.units for one in answer.arms if one.arm == key and one.period == period) for key in keys]


def _at_any_time(experiment: Experiment, answer: UnitAnswer, keys: list[str], periods: list[int]) -> float:
    """The smallest p-value over the days so far. A change of weights starts a new sequence, and evidence multiplies."""
    units: dict[tuple[int, str, str], int] = {}
    for one in answer.arms:
        cell = one.period, one.group, one.arm
        units[cell] = units.get(cell, 0) + one.units
    evidence = highest = 0.0
    for period in periods:
        days = sorted({day for of, day, arm in units if of == period and arm in keys})
        rows = [[units.get((period, day, key), 0) for key in keys] for day in days]
        found = sequential_sample_ratio(rows, weights_in(experiment, period))
        highest = max(highest, *(evidence + step for step in found.log_evidence))
        evidence += found.log_evidence[-1]
    return math.exp(-highest)
