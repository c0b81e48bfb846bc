"""One server and one run of every example program for all tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.examples.expected import PROGRAMS
from tests.examples.running_server import EXAMPLES, Finished, RunningServer, run


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("examples") / "rag-data") as running:
        yield running


@pytest.fixture(scope="session")
def finished(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    """What each program left behind, by name. They run as they are; only the environment names the address."""
    spool = tmp_path_factory.mktemp("spool")

    def one(name: str) -> Finished:
        command = [sys.executable, str(EXAMPLES / f"{name}.py")]
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": server.address, "BAROGRAPH_URL": server.address}
        return run(command, BAROGRAPH_SPOOL=str(spool), HOME=str(spool), **variables)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip([p.name for p in PROGRAMS], pool.map(one, [p.name for p in PROGRAMS]), strict=True))
