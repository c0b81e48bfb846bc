"""Fixtures of the store's tests: the engines they run on, and sites on them.

The embedded engine holds one path a process at a time, so all sites of a test share one and have a database each.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.clickhouse_server import ClickHouseServer
from tests.support.store_site import Site, at

from barograph_client.clock import ManualClock

OpenSite = Callable[..., Site]
START = at("2026-10-29 09:00")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the embedded engine that the tests share."""
    return f"chdb://{tmp_path_factory.mktemp('embedded')}"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """An engine behind HTTP, in a process of its own."""
    with ClickHouseServer(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module", params=["chdb", "clickhouse"])
def address(request: pytest.FixtureRequest) -> str:
    """Both kinds of engine: in this process, and over the wire."""
    if request.param == "chdb":
        return str(request.getfixturevalue("embedded"))
    return str(request.getfixturevalue("server").address)


def opener(folder: Path, address: str) -> tuple[OpenSite, list[Site]]:
    """A function that opens sites, and the list of those it opened."""
    opened: list[Site] = []

    def open_site(directory: Path | None = None, **options: Any) -> Site:
        options = {"address": address, "clock": ManualClock(START), "database": f"test_{next(_numbers)}", **options}
        opened.append(Site(directory or folder / f"site-{len(opened)}", **options))
        return opened[-1]

    return open_site, opened


@pytest.fixture
def open_site(tmp_path: Path, address: str) -> Iterator[OpenSite]:
    """Opens sites on the engine at hand; what they left is discarded."""
    open_it, opened = opener(tmp_path, address)
    yield open_it
    for site in opened:
        site.discard()


@pytest.fixture
def open_embedded(tmp_path: Path, embedded: str) -> Iterator[OpenSite]:
    """Opens sites on the embedded engine alone."""
    open_it, opened = opener(tmp_path, embedded)
    yield open_it
    for site in opened:
        site.discard()
