"""A data directory with a few hundred events, one for the whole folder: tests read it or add to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.cli_support import barograph, lines


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("cli") / "data"
    finished = barograph("record", "-d", directory, stdin=lines(300))
    assert finished.returncode == 0, finished.stderr
    return directory
