"""Attributes of a unit as a request brings them: bounded in size and depth, before any condition is asked of them.

What a condition takes for them is bounded by ``barograph.experiments.bounded_conditions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from barograph.experiments.fields import DEEPEST, too_deep
from barograph.server.problems import Problem

LONGEST_ATTRIBUTES = 16 * 1024  # bytes as JSON, with the ids of the unit


def checked(attributes: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """The attributes, which stand in that field. Raises Problem 400 where they are nested too deep."""
    if too_deep(attributes):
        raise Problem(400, "invalid-input", f"{field} is nested in more than {DEEPEST} levels", field=field,
                      hint="Leave out what no condition asks for.")  # fmt: skip
    return attributes
