"""A control plane of its own for each test, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.start import START

from barograph.control.database import ControlPlane
from barograph_client.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def plane(tmp_path: Path, clock: ManualClock) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path / "control.db", clock) as opened:
        yield opened
