"""What of a definition decides who gets which arm, checked: targeting, namespaces, holdout, forced variants, buckets.

Asked by ``design`` when a definition is made or changed, and by the framework when an experiment starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from barograph.experiments.fields import DEEPEST, about, too_deep
from barograph_client.errors import InvalidExperiment
from barograph_client.experiments.conditions import condition_fault
from barograph_client.experiments.definition import LONGEST_UNIT_ID

if TYPE_CHECKING:
    from barograph.experiments.design import Experiment

LONGEST_CONDITION = 65_536  # characters of a targeting condition with its groups as JSON
MOST_FORCED = 100  # units that are given an arm by hand
MOST_HOLDOUT = 0.5
MOST_BUCKET_VERSION = 1_000
TAKEN_UNIT_KINDS = (  # the other arguments of ``assign`` and ``interleave``
    "key", "default", "attributes", "rankers", "query_id", "method", "length", "id",
)  # fmt: skip


def check_assignment(experiment: Experiment) -> None:
    """Raises InvalidExperiment, with a hint, for what would give no unit an arm, or another one than was meant."""
    if experiment.unit_kind in TAKEN_UNIT_KINDS:
        raise InvalidExperiment("the unit kind cannot be used", hint="Call it user, session, tenant, …",
                                value=experiment.unit_kind, field="unit_kind")  # fmt: skip
    if not 0 <= experiment.holdout <= MOST_HOLDOUT:
        raise InvalidExperiment(f"the holdout must lie between 0 and {MOST_HOLDOUT}", value=experiment.holdout,
                                field="holdout")  # fmt: skip
    with about("condition"):
        _check_condition(experiment)
    with about("namespace"):
        _check_namespace(experiment)
    with about("forced"):
        _check_forced(experiment)
    with about("bucket_version" if experiment.bucket_version else "fallback_unit_kind"):
        _check_buckets(experiment)


@about("namespace")
def check_apart(experiment: Experiment, others: Iterable[Experiment]) -> None:
    """Refuse an experiment whose part of its namespace is another's, or is measured in another way."""
    own = experiment.namespace
    for other in others:
        theirs = other.namespace
        if own is None or theirs is None or other.key == experiment.key or theirs.name != own.name:
            continue
        if (other.unit_kind, theirs.hash_version) != (experiment.unit_kind, own.hash_version):
            raise InvalidExperiment(
                f"the namespace {own.name} is one of {other.unit_kind}s by the hash {theirs.hash_version}",
                hint=f"{other.key} uses it so; all experiments of a namespace must.",
            )
        if max(own.start, theirs.start) < min(own.end, theirs.end):
            raise InvalidExperiment(
                f"its part of the namespace {own.name} overlaps with that of {other.key}",
                hint=f"{other.key} has {theirs.start:g} to {theirs.end:g}; choose another part, or stop that one.",
            )


def default_salt(experiment: Experiment) -> str:
    """What seeds the hash where nothing is said: the key, as in GrowthBook, or for our own hash the project too."""
    own = experiment.hash_version == "barograph"
    return f"{experiment.project}\0{experiment.key}" if own else experiment.key


def _check_condition(experiment: Experiment) -> None:
    fault = condition_fault(experiment.condition)
    if fault:
        raise InvalidExperiment(f"the condition cannot be met: {fault}", hint="docs/experiments.md has the operators.")
    for field, value in (("groups", experiment.groups), ("condition", experiment.condition)):
        if too_deep(value):
            raise InvalidExperiment(f"{field}: it is nested in more than {DEEPEST} levels", field=field,
                                    hint="Write values one beside the other.")  # fmt: skip
    try:
        length = len(json.dumps([experiment.condition, experiment.groups], allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidExperiment(f"the condition is not JSON: {error}") from None
    if length > LONGEST_CONDITION:
        raise InvalidExperiment(f"the condition and its groups have more than {LONGEST_CONDITION:,} characters")


def _check_namespace(experiment: Experiment) -> None:
    space = experiment.namespace
    if space is not None and not 0 <= space.start < space.end <= 1:
        raise InvalidExperiment(
            "the part of the namespace is none", hint="Write shares such as start=0 and end=0.5.",
            value=(space.start, space.end),
        )  # fmt: skip


def _check_forced(experiment: Experiment) -> None:
    arms = {variant.key for variant in experiment.variants}
    if len(experiment.forced) > MOST_FORCED:
        raise InvalidExperiment(f"{MOST_FORCED} units can be given an arm by hand", value=len(experiment.forced))
    for unit_id, arm in experiment.forced.items():
        if not 0 < len(unit_id) <= LONGEST_UNIT_ID:
            raise InvalidExperiment(
                f"a forced unit's id has between 1 and {LONGEST_UNIT_ID} characters", value=unit_id
            )  # fmt: skip
        if arm not in arms:
            raise InvalidExperiment("a unit is given an arm that is none", hint=f"{unit_id}: {arm}", value=arm)


def _check_buckets(experiment: Experiment) -> None:
    e = experiment
    if not e.sticky and (e.fallback_unit_kind or e.bucket_version or e.min_bucket_version):
        raise InvalidExperiment(
            "a fallback unit kind and bucket versions are of sticky buckets", hint="Set sticky=True, or leave them out."
        )
    if e.fallback_unit_kind and e.fallback_unit_kind in (e.unit_kind, *TAKEN_UNIT_KINDS):
        raise InvalidExperiment("the fallback unit kind cannot be used", value=e.fallback_unit_kind)
    if not 0 <= e.min_bucket_version <= e.bucket_version <= MOST_BUCKET_VERSION:
        raise InvalidExperiment(
            f"bucket versions lie between 0 and {MOST_BUCKET_VERSION:,}, the least not above the present one",
            value=(e.min_bucket_version, e.bucket_version),
        )
