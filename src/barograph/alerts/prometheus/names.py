"""What metrics and labels are called where Prometheus' names are needed: letters, digits and underscores.

Read by ``exposition`` and ``export``, which write them, and by ``rules.expression``, whose expressions name them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_OWN = ("rule", "project")  # labels that every series of a rule has


_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def is_label_name(name: str) -> bool:
    """Whether Prometheus and Alertmanager can have a label of that name."""
    return _LABEL.fullmatch(name) is not None


def plain_name(name: str) -> str:
    """The name with an underscore for whatever Prometheus does not have in one: ``response_time_p95``."""
    cleaned = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return f"_{cleaned}" if cleaned[:1].isdigit() else cleaned


def label_names(names: Sequence[str], taken: Sequence[str] = _OWN) -> dict[str, str]:
    """The names as Prometheus can have them, each once and none of those that are taken."""
    found: dict[str, str] = {}
    for name in names:
        cleaned = plain_name(name)
        while cleaned in taken or cleaned in found.values():
            cleaned += "_"
        found[name] = cleaned
    return found
