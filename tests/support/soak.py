"""How often the tests repeat what chance decides: a few times in every run, many times in `make soak`."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("BAROGRAPH_SOAK"))


def times(usually: int, soaking: int) -> int:
    """The number of rounds, seeds, examples or seconds for the run at hand."""
    return soaking if LONG else usually
