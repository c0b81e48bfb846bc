"""In what order the files of tests are handed out, and what holds for all properties.

What takes long begins first, so that no core is idle at the end.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

# How long an example takes says nothing on a machine that others use too.
settings.register_profile("untimed", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("untimed")

# Folders whose tests start programs, servers and engines, the longest first; all others take a few seconds a file.
LONG = (
    "slow", "store", "bench", "server", "test_monitoring_and_analytics_dashboard.py", "test_house.py", "test_readme.py",
    "cli", "client", "alerts", "examples", "dashboard", "demo",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        part = item.nodeid.partition("tests/")[2].partition("/")[0].partition("::")[0]
        return LONG.index(part) if part in LONG else len(LONG)

    items.sort(key=rank)
