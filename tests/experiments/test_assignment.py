"""A unit's arm is a pure function of definition, ids and attributes: the same everywhere, for good."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from barograph_client.errors import InvalidExperiment
from barograph_client.experiments.assignment import Assigner
from barograph_client.experiments.conditions import compiled, condition_fault
from barograph_client.experiments.definition import Arm, Definition, Namespace
from barograph_client.experiments.hashing import HashVersion, Places
from barograph_client.experiments.sticky import MemoryStickyStore, StickyStore

HASHES: tuple[HashVersion, ...] = ("barograph", "growthbook-v1", "growthbook-v2")
UNITS = [f"user-{number}" for number in range(20_000)]
SURELY = 0.001  # a right share fails such a test once in a thousand seeds; the units are fixed
PATIENT = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
IDS = st.text(min_size=1, max_size=256)

NAMES = st.sampled_from(
    ["a", "b", "a.b", "$and", "$or", "$nor", "$not", "$in", "$nini", "$gt", "$lte", "$eq", "$ne", "$all", "$alli",
     "$size", "$elemMatch", "$regex", "$regexi", "$exists", "$type", "$vgt", "$veq", "$inGroup", "$notInGroup", "$what"]
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=4) |
    st.sampled_from(["g", "(", "1.2.3", " 7 ", "Infinity", "1e999", "string", "\ud800"])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


def define(*weights: float, **values: object) -> Definition:
    """An experiment with arms "0", "1" … of these weights."""
    arms = tuple(Arm(key=str(index), weight=weight) for index, weight in enumerate(weights or (0.5, 0.5)))
    given: dict[str, object] = {"key": "test", "salt": "s", "arms": arms, **values}
    return msgspec.convert(msgspec.to_builtins(given), Definition)


def arm(
    definition: Definition,
    unit: str,
    attributes: Mapping[str, object] | None = None,
    sticky: StickyStore | None = None,
) -> str | None:
    return Assigner(definition).decide({"user": unit}, attributes or {}, sticky).arm


def counted(definition: Definition, units: list[str] = UNITS) -> Counter[str | None]:
    assigner = Assigner(definition)
    return Counter(assigner.decide({"user": unit}).arm for unit in units)


class TestStickiness:
    def test_positions_never_change_between_versions(self) -> None:
        places = Places("default\0rerank")
        found = {unit: tuple(round(place, 12) for place in places.of(unit)) for unit in ("user-1", "é", "用户")}
        assert found == {
            "user-1": (0.24797715595, 0.853436780495),
            "é": (0.356353711219, 0.847903383527),
            "用户": (0.587286475568, 0.675312581885),
        }

    def test_another_process_gives_the_same_arms(self) -> None:
        program = (
            "from barograph_client.experiments.assignment import Assigner\n"
            "from barograph_client.experiments.definition import Arm, Definition\n"
            "arms = (Arm(key='0', weight=0.5), Arm(key='1', weight=0.5))\n"
            "a = Assigner(Definition(key='test', salt='s', arms=arms))\n"
            "print(''.join(a.decide({'user': f'user-{n}'}).arm for n in range(200)))\n"
        )
        told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert told.stdout.strip() == "".join(str(arm(define(), unit)) for unit in UNITS[:200])

    @pytest.mark.parametrize("hashed", HASHES)
    @PATIENT
    @given(unit=IDS, one=st.floats(0.01, 1), other=st.floats(0.01, 1))
    def test_raising_the_coverage_only_adds(self, hashed: HashVersion, unit: str, one: float, other: float) -> None:
        low, high = sorted((one, other))
        before = arm(define(coverage=low, hash_version=hashed), unit)
        after = arm(define(coverage=high, hash_version=hashed), unit)
        assert before is None or after == before

    @PATIENT
    @given(st.text(st.characters(), min_size=1, max_size=256), st.sampled_from(HASHES))
    def test_any_text_is_an_id_half_characters_too(self, unit: str, hashed: HashVersion) -> None:
        assigner = Assigner(define(hash_version=hashed))
        assert assigner.decide({"user": unit}).arm == assigner.decide({"user": unit}).arm is not None

    def test_half_a_character_is_another_id_than_its_escape(self) -> None:
        assert len({Places("s").of(unit) for unit in ("\ud800", "\udfff", "\\ud800", "?")}) == 4


class TestStickyBuckets:
    @PATIENT
    @given(
        unit=IDS, first=st.floats(0.01, 0.99), then=st.floats(0.01, 0.99), hashed=st.sampled_from(HASHES),
        coverage=st.floats(0.01, 1),
    )  # fmt: skip
    def test_changed_weights_move_nobody_who_was_assigned(
        self, unit: str, first: float, then: float, hashed: HashVersion, coverage: float
    ) -> None:
        store = MemoryStickyStore()
        common = {"hash_version": hashed, "sticky": True, "coverage": coverage}
        before = arm(define(first, 1 - first, **common), unit, sticky=store)
        after = arm(define(then, 1 - then, **common), unit, sticky=store)
        assert before is None or after == before

    def test_those_who_come_after_the_change_get_the_new_weights(self) -> None:
        store = MemoryStickyStore()
        early, late = UNITS[:2_000], UNITS[2_000:6_000]
        before = [arm(define(0.9, 0.1, sticky=True), unit, sticky=store) for unit in early]
        changed = Assigner(define(0.1, 0.9, sticky=True))
        assert [changed.decide({"user": unit}, {}, store).arm for unit in early] == before
        new = sum(changed.decide({"user": unit}, {}, store).arm == "1" for unit in late)
        assert stats.binomtest(new, len(late), 0.9).pvalue > SURELY

    def test_who_was_assigned_stays_in_when_the_targeting_does_not_fit_any_more(self) -> None:
        store = MemoryStickyStore()
        targeted = define(sticky=True, condition={"plan": "free"})
        first = arm(targeted, "u", {"plan": "free"}, store)
        assert first is not None
        assert arm(targeted, "u", {"plan": "paid"}, store) == first
        assert arm(targeted, "other", {"plan": "paid"}, store) is None

    def test_memory_is_bounded(self) -> None:
        store = MemoryStickyStore(most=10)
        for unit in UNITS[:30]:
            arm(define(sticky=True), unit, sticky=store)
        assert [bool(store.of("user", unit)) for unit in UNITS[:30]] == [False] * 20 + [True] * 10


class TestShares:
    @pytest.mark.parametrize("hashed", HASHES)
    @pytest.mark.parametrize("weights", [(0.5, 0.5), (0.9, 0.1), (1 / 3, 1 / 3, 1 / 3), (0.2, 0.0, 0.8)])
    def test_arms_get_the_weights_they_were_given(self, weights: tuple[float, ...], hashed: HashVersion) -> None:
        counts = counted(define(*weights, salt="shares", hash_version=hashed))
        seen = [counts[str(index)] for index, weight in enumerate(weights) if weight]
        assert sum(seen) == len(UNITS)
        assert stats.chisquare(seen, [len(UNITS) * weight for weight in weights if weight]).pvalue > SURELY

    def test_positions_are_uniform_and_the_two_of_a_unit_independent(self) -> None:
        places = Places("uniform")
        cells = Counter(tuple(int(place * 10) for place in places.of(unit)) for unit in UNITS)
        assert len(cells) == 100
        assert stats.chisquare(list(cells.values())).pvalue > SURELY

    def test_coverage_takes_its_share_and_splits_it_evenly(self) -> None:
        counts = counted(define(salt="covered", coverage=0.3))
        assert stats.binomtest(len(UNITS) - counts[None], len(UNITS), 0.3).pvalue > SURELY
        assert stats.binomtest(counts["0"], counts["0"] + counts["1"], 0.5).pvalue > SURELY

    def test_two_experiments_are_independent_of_each_other(self) -> None:
        one, other = Assigner(define(salt="one")), Assigner(define(salt="other"))
        table = Counter((one.decide({"user": unit}).arm, other.decide({"user": unit}).arm) for unit in UNITS)
        assert stats.chi2_contingency([[table[a, b] for b in "01"] for a in "01"]).pvalue > SURELY

    def test_rounding_of_the_weights_leaves_no_unit_without_an_arm(self) -> None:
        tenths = [0.1] * 9
        assert set(counted(define(*tenths, 1 - 1e-9 - 0.9, 0.0))) == {str(index) for index in range(10)}
        assert set(counted(define(0.45, 0.45, 0.0))) == {"0", "1"}  # far more of a gap than rounding leaves


class TestGrowthBook:
    @pytest.mark.parametrize(("unit", "position"), [("é", 0.8663), ("用户", 0.536)])
    def test_who_is_not_called_in_ascii_keeps_the_arm(self, unit: str, position: float) -> None:
        narrow = define(position, 0.0001, 0.9999 - position, salt="seed", hash_version="growthbook-v2")
        assert arm(narrow, unit) == "1"  # the one ten-thousandth that JavaScript's code units give


class TestWhoTakesPart:
    def test_experiments_of_a_namespace_share_no_unit_and_leave_none_out(self) -> None:
        parts = (Namespace(name="retrieval", end=0.4), Namespace(name="retrieval", start=0.4))
        first, second = (Assigner(define(salt=part.name + str(part.end), namespace=part)) for part in parts)
        found = [
            (first.decide({"user": unit}).in_experiment, second.decide({"user": unit}).in_experiment)
            for unit in UNITS[:4_000]
        ]
        assert set(found) == {(True, False), (False, True)}
        assert stats.binomtest(sum(one for one, _ in found), len(found), 0.4).pvalue > SURELY

    def test_units_held_out_are_the_same_in_every_experiment_of_the_project(self) -> None:
        small, large = Assigner(define(salt="a", holdout=0.1)), Assigner(define(salt="b", key="b", holdout=0.2))
        out = [{unit for unit in UNITS[:4_000] if a.decide({"user": unit}).arm is None} for a in (small, large)]
        assert out[0] < out[1]
        assert stats.binomtest(len(out[0]), 4_000, 0.1).pvalue > SURELY
        assert small.decide({"user": next(iter(out[0]))}).reason == "held out"

    def test_conditions_see_attributes_and_ids(self) -> None:
        targeted = Assigner(define(condition={"country": {"$in": ["DE", "FR"]}, "user": {"$regex": "^u"}}))
        assert targeted.decide({"user": "u1"}, {"country": "DE"}).in_experiment
        assert targeted.decide({"user": "u1"}, {"country": "US"}).reason == "not targeted"
        assert targeted.decide({"user": "x1"}, {"country": "DE"}).reason == "not targeted"
        assert targeted.decide({"user": "u1"}).reason == "not targeted"

    @PATIENT
    @given(condition=st.dictionaries(NAMES, VALUES, max_size=3), attributes=st.dictionaries(NAMES, VALUES, max_size=3))
    def test_no_condition_and_no_attributes_raise_anything(
        self, condition: dict[str, Any], attributes: dict[str, Any]
    ) -> None:
        assert isinstance(condition_fault(condition), str)
        fits = compiled(condition, {"g": [1, "a"]})(attributes)
        assert compiled({"$not": condition}, {"g": [1, "a"]})(attributes) is not fits

    def test_a_forced_unit_gets_its_arm_even_when_nothing_runs_and_is_not_counted(self) -> None:
        decision = Assigner(define(state="stopped", forced={"tester": "1"})).decide({"user": "tester"})
        assert (decision.arm, decision.reason, decision.in_experiment, decision.counted) == ("1", "forced", True, False)

    @pytest.mark.parametrize("state", ["paused", "stopped"])
    def test_nobody_is_assigned_unless_it_runs(self, state: str) -> None:
        assert Assigner(define(state=state)).decide({"user": "u"}).reason == "not running"

    def test_the_unit_may_be_a_session_or_a_tenant(self) -> None:
        by_tenant = Assigner(define(unit_kind="tenant"))
        decision = by_tenant.decide({"user": "u1", "tenant": "t1"})
        assert (decision.unit_kind, decision.unit_id) == ("tenant", "t1")
        assert by_tenant.decide({"user": "u1"}).reason == "no unit"


class TestPayload:
    ARMS = (Arm(key="control", weight=0.5, payload={"top_k": 5}), Arm(key="more", weight=0.5, payload={"ids": [1]}))

    def test_is_the_arm_s_and_outside_the_control_s(self) -> None:
        assigner = Assigner(define(arms=self.ARMS, control="control"))
        by_arm = {one.arm: one.payload for one in (assigner.decide({"user": unit}) for unit in UNITS[:50])}
        assert by_arm == {"control": {"top_k": 5}, "more": {"ids": (1,)}}
        stopped = Assigner(define(arms=self.ARMS, control="control", state="stopped"))
        assert stopped.decide({"user": "u"}).payload == {"top_k": 5}

    def test_cannot_be_changed(self) -> None:
        payload: Any = Assigner(define(arms=self.ARMS)).decide({"user": "u"}).payload
        with pytest.raises(TypeError, match="does not support item assignment"):
            payload["top_k"] = 1


class TestBadIds:
    @pytest.mark.parametrize("unit", ["x" * 257, "x" * 1_000_000, 7, b"bytes"])
    @pytest.mark.parametrize("hashed", HASHES)
    def test_are_refused_with_a_short_reason(self, unit: Any, hashed: HashVersion) -> None:
        with pytest.raises(InvalidExperiment) as caught:
            Assigner(define(hash_version=hashed)).decide({"user": unit})
        assert len(str(caught.value)) < 400


class TestHostProgram:
    def test_loads_nothing_heavy(self) -> None:
        program = "import sys, barograph_client.experiments.assignment; print(*sys.modules)"
        loaded = set(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.split())
        assert "barograph_client.experiments.assignment" in loaded
        heavy = {"numpy", "scipy", "sqlalchemy", "chdb", "clickhouse_connect", "sqlite3", "http.client", "ssl"}
        assert not heavy & loaded
        assert not [name for name in loaded if name == "barograph" or name.startswith("barograph.")]
