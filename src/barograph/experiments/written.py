"""An experiment as people write it: a file in TOML or JSON, or the body of a request.

A name that no field has is refused, and what the framework keeps (state, times, project) may be repeated but not
changed, so that what was read can be written back. Read by the server and the command line.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec

from barograph.core.mistakes import SEE, Mistake, mistakes
from barograph.core.toml_lines import TomlLines, dotted
from barograph.experiments.design import Experiment
from barograph_client.errors import InvalidExperiment

_FIELDS = Experiment.__struct_fields__
KEPT = ("project", *_FIELDS[_FIELDS.index("state") :])  # by the framework
_FRESH = Experiment(key="", variants=(), primary_metric="")
LONGEST_DEFINITION = 4 * 2**20  # bytes as JSON; the payloads of all arms together have less
_SEE = "docs/experiments.md tells what a definition says."


def definition_fields(experiment: Experiment) -> dict[str, Any]:
    """What people wrote of it, and may write again: everything but what the framework keeps."""
    built: dict[str, Any] = msgspec.to_builtins(experiment)
    return {name: value for name, value in built.items() if name not in KEPT}


def from_tree(tree: object, project: str, known: Experiment | None = None) -> Experiment:
    """The experiment of a tree of tables, lists and values; ``known`` is the one that it is to replace.

    Raises InvalidExperiment, with the field, for the first thing that is wrong with its form. Whether it holds
    together is looked at when it is kept.
    """
    for wrong in mistakes(tree, Experiment, closed=True):
        raise _refused(wrong)
    assert isinstance(tree, dict)  # or it would have been a mistake
    written = msgspec.convert(tree, Experiment)
    _check_kept(tree, written, project, known)
    return written


def from_file(text: str, name: str) -> dict[str, Any]:
    """The tree of a file's text, of the form of an experiment; JSON where it begins with a brace, else TOML.

    Raises InvalidExperiment, which names the file, the line where it is TOML, and the field.
    """
    json = text.lstrip().startswith("{")
    try:
        tree: dict[str, Any] = msgspec.json.decode(text) if json else tomllib.loads(text)
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeError, RecursionError) as error:
        raise InvalidExperiment(
            f"{name} is neither TOML nor JSON: {error}", hint="`barograph experiment create --help` has an example."
        ) from None
    for wrong in mistakes(tree, Experiment, closed=True):
        line = 0 if json else TomlLines(text).of(wrong.at)
        raise _refused(wrong, f"{name}, line {line}: " if line else f"{name}: ")
    return tree


def _refused(wrong: Mistake, where: str = "") -> InvalidExperiment:
    place = dotted(wrong.at)
    hint = wrong.near or (wrong.instead if where and wrong.instead != SEE else _SEE)
    says = f"{place}: {wrong.says}" if place else f"an experiment is a table of fields, and this {wrong.says}"
    return InvalidExperiment(f"{where}{says}", hint=hint, field=place)


def _check_kept(tree: Mapping[str, object], written: Experiment, project: str, known: Experiment | None) -> None:
    for name in KEPT:
        stands = project if name == "project" else getattr(known or _FRESH, name)
        if name in tree and getattr(written, name) != stands:
            raise InvalidExperiment(
                f"{name} is not changed by a definition", hint=_HINTS.get(name, "Leave it out."), field=name,
                value=getattr(written, name),
            )  # fmt: skip


_HINTS = {
    "project": "The key, or --project, says which project it is.",
    "state": "Leave it out; start, pause, stop and archive change it.",
}
