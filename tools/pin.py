"""Writes constraints.txt: the exact version of everything that pyproject.toml asks for, as installed here.

Reads pyproject.toml and the metadata of the running environment; whatever else is installed in it is left out.
Run it with ``make pin`` after a dependency was added or updated by hand. A constraint binds only what is asked
for, so no line needs a marker: what one Python does not need is not installed there.
"""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
OURS = "barograph-client"  # installed from the folder beside this one
EDITABLE = ("editables",)  # what hatchling asks for, on the fly, to install in development mode
HEAD = "# Every version that `make` installs, exactly. Written by `make pin`; not to be edited by hand.\n"


def closure(requirements: Iterable[str]) -> dict[str, str]:
    """The requirements and all that they need here: canonical name to version."""
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = deque((Requirement(text), frozenset[str]()) for text in requirements)
    while waiting:
        asked, extras_of_asker = waiting.popleft()
        name, extras = canonicalize_name(asked.name), frozenset(asked.extras)
        wanted = asked.marker is None or any(asked.marker.evaluate({"extra": e}) for e in extras_of_asker or {""})
        if not wanted or (name, extras) in seen:
            continue
        seen.add((name, extras))
        distribution = importlib.metadata.distribution(name)
        if name != OURS:
            found[name] = distribution.version
        waiting.extend((Requirement(text), extras) for text in distribution.requires or ())
    return found


def constraints() -> str:
    """The text of constraints.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {
        "to run": project["project"]["dependencies"],
        "to develop": project["project"]["optional-dependencies"]["dev"],
        "to build": [*project["build-system"]["requires"], *EDITABLE],
    }
    parts, known = [HEAD], set[str]()
    for title, requirements in groups.items():
        pins = {name: version for name, version in closure(requirements).items() if name not in known}
        known |= pins.keys()
        parts.append(f"\n# {title}\n" + "".join(f"{name}=={pins[name]}\n" for name in sorted(pins)))
    return "".join(parts)


if __name__ == "__main__":
    (ROOT / "constraints.txt").write_text(constraints(), encoding="utf-8")
