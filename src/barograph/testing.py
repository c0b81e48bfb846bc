"""What the tests of programs that use Barograph need: a dashboard in a temporary directory and a clock to move.

with temporary_dashboard() as dashboard:
    run_my_rag(dashboard)
    dashboard.flush()
    assert dashboard.query("queries").value == 1
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph_client.clock import Clock, ManualClock

__all__ = ["ManualClock", "temporary_dashboard"]


@contextlib.contextmanager
def temporary_dashboard(clock: Clock | None = None, **overrides: object) -> Iterator[DashboardInterface]:
    """A real dashboard, journal and engine included, that leaves nothing behind; without background threads."""
    with (
        tempfile.TemporaryDirectory(prefix="barograph-") as directory,
        DashboardInterface(
            directory, clock=clock, environment={}, background=False, visualizer=None, **overrides
        ) as dashboard,
    ):
        yield dashboard
