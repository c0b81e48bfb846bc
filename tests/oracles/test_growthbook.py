"""Units get the arms that GrowthBook's SDK specification gives them, case by case.

Sections of the file are either computed here or stand in ``NOT_OFFERED`` with the reason; so do, in ``run``, the
members of an experiment or its context that have no counterpart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from barograph_client.experiments.assignment import Assigner, Decision
from barograph_client.experiments.conditions import compiled
from barograph_client.experiments.definition import Arm, Definition, Namespace
from barograph_client.experiments.hashing import HashVersion, growthbook_hash
from barograph_client.experiments.ranges import bucket_ranges, choose_variation, equal_weights, in_namespace
from barograph_client.experiments.sticky import MemoryStickyStore

Json = dict[str, Any]
CASES: dict[str, list[Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "growthbook_cases.json").read_text(encoding="utf-8")
)
OFFERED = (
    "evalCondition", "hash", "getBucketRange", "chooseVariation", "inNamespace", "getEqualWeights", "stickyBucket",
    "run",
)  # fmt: skip
NOT_OFFERED = {
    "specVersion": "no cases: the version of the specification",
    "feature": "feature flags, with rules and defaults of their own: an experiment here is one definition, not a rule",
    "getQueryStringOverride": "the host is a server program; an address must not choose an arm that is then counted",
    "urlRedirect": "redirects of web pages: an arm here is a configuration of a RAG system",
    "decrypt": "definitions come from the user's own server, over TLS where they need it",
    "contextualBandit": "weights by context, which GrowthBook's own service learns",
}
NOT_OFFERED_IN_RUN = {
    "url": "see getQueryStringOverride",
    "enabled": "a program that wants no experiments does not ask for an arm",
    "qaMode": "forced variants are all that a test needs",
    "force": "an arm for everybody is a change of the program's configuration, not an experiment",
    "filters": "several ranges of several namespaces: one namespace is offered",
    "ranges": "ranges come from weights and coverage alone, so that the sample ratio is known",
    "parentConditions": "prerequisites of feature flags, see feature",
}
VERSIONS: dict[int, HashVersion] = {1: "growthbook-v1", 2: "growthbook-v2"}


def of(section: str) -> list[Any]:
    return [pytest.param(*case, id=str(case[0])) for case in CASES[section]]


def test_every_section_is_computed_or_explained() -> None:
    assert set(CASES) == {*OFFERED, *NOT_OFFERED}
    assert not set(OFFERED) & set(NOT_OFFERED)


@pytest.mark.parametrize(("seed", "unit", "version", "expected"), CASES["hash"])
def test_hash(seed: str, unit: str, version: int, expected: float | None) -> None:
    assert growthbook_hash(seed, unit, version) == expected


@pytest.mark.parametrize(("unit", "expected"), [("é", 0.8663), ("用户", 0.536)])
def test_ids_that_are_not_ascii_are_hashed_as_javascript_does(unit: str, expected: float) -> None:
    assert growthbook_hash("seed", unit, 2) == expected


def test_a_character_beyond_the_first_plane_is_two_code_units_and_half_of_one_is_one() -> None:
    # 0x811C9DC5, then for each unit: exclusive or, times 0x01000193, modulo 2**32
    state = 0x811C9DC5
    for unit in (0xD83D, 0xDE00):
        state = (state ^ unit) * 0x01000193 % 2**32
    assert growthbook_hash("", "😀", 1) == state % 1000 / 1000
    half = (0x811C9DC5 ^ 0xD83D) * 0x01000193 % 2**32
    assert growthbook_hash("", "\ud83d", 1) == half % 1000 / 1000


@pytest.mark.parametrize(("_", "inputs", "expected"), of("getBucketRange"))
def test_bucket_range(_: str, inputs: list[Any], expected: list[list[float]]) -> None:
    assert bucket_ranges(*inputs) == [pytest.approx(one) for one in expected]


@pytest.mark.parametrize(("_", "position", "ranges", "expected"), of("chooseVariation"))
def test_choose_variation(_: str, position: float, ranges: list[tuple[float, float]], expected: int) -> None:
    assert choose_variation(position, ranges) == expected


@pytest.mark.parametrize(("_", "unit", "namespace", "expected"), of("inNamespace"))
def test_in_namespace(_: str, unit: str, namespace: list[Any], expected: bool) -> None:
    assert in_namespace(unit, *namespace) is expected


@pytest.mark.parametrize(("arms", "expected"), CASES["getEqualWeights"])
def test_equal_weights(arms: int, expected: list[float]) -> None:
    assert equal_weights(arms) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("case", CASES["evalCondition"], ids=lambda case: str(case[0]))
def test_condition(case: list[Any]) -> None:
    _, condition, attributes, expected, *groups = case
    assert compiled(condition, *groups)(attributes) is expected


def definition_of(experiment: Json, context: Json) -> Definition:
    """What GrowthBook's experiment is here."""
    arms = len(experiment["variations"])
    weights = experiment.get("weights") or equal_weights(arms)
    return Definition(
        key=experiment["key"],
        arms=tuple(Arm(key=str(index), weight=weight) for index, weight in enumerate(weights)),
        salt=experiment.get("seed", experiment["key"]),
        state="running" if experiment.get("active", True) else "stopped",
        unit_kind=experiment.get("hashAttribute", "id"),
        fallback_unit_kind=experiment.get("fallbackAttribute", ""),
        hash_version=VERSIONS[experiment.get("hashVersion", 1)],
        coverage=experiment.get("coverage", 1.0),
        condition=experiment.get("condition", {}),
        groups=context.get("savedGroups", {}),
        namespace=_namespace(experiment.get("namespace")),
        sticky=not experiment.get("disableStickyBucketing", False),
        bucket_version=experiment.get("bucketVersion", 0),
        min_bucket_version=experiment.get("minBucketVersion", 0),
    )


def _namespace(given: list[Any] | None) -> Namespace | None:
    if given is None:
        return None
    return Namespace(name=given[0], start=given[1], end=given[2], hash_version="growthbook-v1")


def _ids(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if isinstance(value, str)}


def _not_offered(case: list[Any]) -> str:
    _, context, experiment, *_ = case
    return next((name for name in NOT_OFFERED_IN_RUN if name in context or name in experiment), "")


RUN = [case for case in CASES["run"] if not _not_offered(case) and len(case[2]["variations"]) > 1]


def test_run_leaves_out_only_what_is_explained_and_experiments_of_one_arm() -> None:
    left = [case for case in CASES["run"] if case not in RUN]
    assert {_not_offered(case) or case[0] for case in left} == {*NOT_OFFERED_IN_RUN, "single variation"}
    assert len(RUN) == 55


@pytest.mark.parametrize("case", RUN, ids=lambda case: str(case[0]))
def test_run(case: list[Any]) -> None:
    _, context, experiment, value, in_experiment, hash_used = case
    attributes = context.get("attributes", {})
    assigner = Assigner(definition_of(experiment, context))
    forced = context.get("forcedVariations", {}).get(experiment["key"])
    decision = assigner.decide(_ids(attributes), attributes) if forced is None else assigner.force(str(forced))
    assert decision is not None
    assert (decision.in_experiment, decision.counted) == (in_experiment, hash_used)
    assert experiment["variations"][int(decision.arm or 0)] == value


@pytest.mark.parametrize(("_", "context", "documents", "feature", "expected", "kept"), of("stickyBucket"))
def test_sticky_bucket(
    _: str, context: Json, documents: list[Json], feature: str, expected: Json | None, kept: Json
) -> None:
    (rule,) = context["features"][feature]["rules"]
    attributes = context["attributes"]
    store = MemoryStickyStore()
    for document in documents:
        for name, arm in document["assignments"].items():
            store.keep(document["attributeName"], document["attributeValue"], name, arm)

    definition = definition_of({"key": feature, **rule}, context)
    decision: Decision[Mapping[str, object]] = Assigner(definition).decide(_ids(attributes), attributes, store)

    if expected is None:
        assert (decision.arm, decision.reason) == (None, "blocked")
    else:
        assert decision.arm == expected["key"] == str(expected["variationId"])
        assert (decision.unit_kind, decision.unit_id) == (expected["hashAttribute"], expected["hashValue"])
        assert (decision.reason == "sticky") is expected["stickyBucketUsed"]
        version = rule.get("hashVersion", 1)
        assert growthbook_hash(definition.salt, decision.unit_id, version) == expected["bucket"]
    for document in kept.values():
        assert store.of(document["attributeName"], document["attributeValue"]) == document["assignments"]
