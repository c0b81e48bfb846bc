"""Names for the tests that schemathesis makes: pytest takes only the function's, and xdist runs one test of a name."""

from __future__ import annotations

import dataclasses

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    label = getattr(item, "operation_label", "")
    if label and label not in item.nodeid:
        item._id = dataclasses.replace(item.id, params=label)
