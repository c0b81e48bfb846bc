"""A unit's arm is a pure function of salt, arms and id: the same everywhere, for good."""

from __future__ import annotations

import subprocess
import sys
import timeit
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from barograph.experiments.assignment import Assigner
from barograph_client.errors import InvalidExperiment

HALVES = [("control", 0.5), ("treatment", 0.5)]
UNITS = [f"user-{number}" for number in range(20_000)]


class TestStickiness:
    def test_positions_never_change_between_versions(self) -> None:
        assigner = Assigner("default\0rerank", HALVES)
        found = {unit: tuple(round(place, 12) for place in assigner.place(unit)) for unit in ("user-1", "é", "用户")}
        assert found == {
            "user-1": (0.24797715595, 0.853436780495),
            "é": (0.356353711219, 0.847903383527),
            "用户": (0.587286475568, 0.675312581885),
        }

    def test_another_process_gives_the_same_arms(self) -> None:
        program = (
            "from barograph.experiments.assignment import Assigner\n"
            "a = Assigner('s', [('control', 0.5), ('treatment', 0.5)])\n"
            "print(''.join(a.arm(f'user-{n}')[0] for n in range(200)))\n"
        )
        told = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.strip()
        assigner = Assigner("s", HALVES)
        assert told == "".join(str(assigner.arm(unit))[0] for unit in UNITS[:200])

    @given(st.text(min_size=1, max_size=256), st.floats(0.01, 1), st.floats(0.01, 1))
    def test_raising_the_coverage_only_adds(self, unit: str, one: float, other: float) -> None:
        low, high = sorted((one, other))
        before = Assigner("s", HALVES, low).arm(unit)
        after = Assigner("s", HALVES, high).arm(unit)
        assert before is None or after == before

    @given(st.text(st.characters(), min_size=1, max_size=256))
    def test_any_text_is_an_id_half_characters_too(self, unit: str) -> None:
        assigner = Assigner("s", HALVES)
        assert assigner.arm(unit) == assigner.arm(unit)
        assert all(0 <= place < 1 for place in assigner.place(unit))

    def test_half_a_character_is_another_id_than_its_escape(self) -> None:
        assigner = Assigner("s", HALVES)
        assert len({assigner.place(unit) for unit in ("\ud800", "\udfff", "\\ud800", "?")}) == 4


class TestShares:
    @pytest.mark.parametrize("weights", [(0.5, 0.5), (0.9, 0.1), (1 / 3, 1 / 3, 1 / 3), (0.2, 0.0, 0.8)])
    def test_arms_get_the_weights_they_were_given(self, weights: tuple[float, ...]) -> None:
        assigner = Assigner("shares", [(str(index), weight) for index, weight in enumerate(weights)])
        counts = Counter(assigner.arm(unit) for unit in UNITS)
        seen = [counts[str(index)] for index, weight in enumerate(weights) if weight]
        assert sum(seen) == len(UNITS)
        assert stats.chisquare(seen, [len(UNITS) * weight for weight in weights if weight]).pvalue > 0.001

    def test_coverage_takes_its_share_and_splits_it_evenly(self) -> None:
        counts = Counter(Assigner("covered", HALVES, 0.3).arm(unit) for unit in UNITS)
        assert stats.binomtest(len(UNITS) - counts[None], len(UNITS), 0.3).pvalue > 0.001
        assert stats.binomtest(counts["control"], counts["control"] + counts["treatment"], 0.5).pvalue > 0.001

    def test_two_experiments_are_independent_of_each_other(self) -> None:
        one, other = Assigner("one", HALVES), Assigner("other", HALVES)
        table = Counter((one.arm(unit), other.arm(unit)) for unit in UNITS)
        rows = [[table[a, b] for b in ("control", "treatment")] for a in ("control", "treatment")]
        assert stats.chi2_contingency(rows).pvalue > 0.001

    def test_rounding_of_the_weights_leaves_no_unit_without_an_arm(self) -> None:
        tenths = [(str(index), 0.1) for index in range(10)]
        assigner = Assigner("tenths", [*tenths[:9], ("9", 1 - 1e-9 - 0.9), ("never", 0.0)])
        assert {assigner.arm(unit) for unit in UNITS} == {str(index) for index in range(10)}
        gap = Assigner("gap", [("a", 0.45), ("b", 0.45), ("never", 0.0)])  # far more of a gap than rounding leaves
        assert {gap.arm(unit) for unit in UNITS} == {"a", "b"}


class TestBadIds:
    @pytest.mark.parametrize("unit", ["", "x" * 257, "x" * 1_000_000, None, 7, b"bytes"])
    def test_are_refused_with_a_short_reason(self, unit: object) -> None:
        with pytest.raises(InvalidExperiment) as caught:
            Assigner("s", HALVES).arm(unit)
        assert len(str(caught.value)) < 400


class TestHostProgram:
    def test_loads_nothing_heavy(self) -> None:
        program = "import sys, barograph.experiments.assignment; print(*sys.modules)"
        loaded = set(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.split())
        assert "barograph.experiments.assignment" in loaded
        assert not {"numpy", "scipy", "sqlalchemy", "chdb", "clickhouse_connect", "msgspec"} & loaded

    def test_takes_microseconds(self) -> None:
        assigner = Assigner("s", HALVES, 0.5)
        best = min(timeit.repeat(lambda: assigner.arm("user-12345"), number=5000, repeat=7)) / 5000
        assert best < 10e-6
