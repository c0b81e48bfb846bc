"""An engine's address that is none is refused before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph_client.errors import InvalidSettings


@pytest.mark.parametrize(
    "address", ["chdb://[x", "clickhouse://host:port", "clickhouse://host:99999", "postgres://host", "", "here"]
)
def test_an_address_that_is_none_is_refused_and_leaves_the_directory_free(tmp_path: Path, address: str) -> None:
    with pytest.raises(InvalidSettings) as told:
        DashboardInterface(tmp_path, environment={}, background=False, engine={"address": address})
    assert told.value.hint
    with DashboardInterface(tmp_path, environment={}, background=False) as dashboard:
        assert dashboard.flush()
