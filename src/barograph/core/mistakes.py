"""Every mistake in a tree of settings, and not only the first: where, what is wrong, what to write instead.

msgspec judges, part by part; what it says is told here in words. Read by ``settings``, by whatever looks at a file
before it is in use, and by the server of what it is sent.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from barograph.core.reason import WORDS, reason
from barograph.core.toml_lines import Place
from barograph_client.errors import shorten

SEE = "See docs/settings.md."
_WORDS = {**WORDS, "object": "a table"}
_MOST = 12  # names of a hint


class Mistake(Struct, frozen=True, kw_only=True):
    """One mistake, at a setting. ``near`` has the names that may have been meant, or all that there are, in a sentence.

    ``expected`` and ``got`` are types of ``reason.WORDS``, where a type is wrong.
    """

    at: Place
    says: str
    near: str = ""
    value: object = None
    expected: str = ""
    got: str = ""

    @property
    def instead(self) -> str:
        """What to write in a file."""
        name = self.at[-1] if self.at and isinstance(self.at[-1], str) else "name"
        match self.expected, self.got:
            case "int" | "float" | "bool", "str":
                return "Write it without quotes."
            case "str", "int" | "float" | "bool" | "datetime" | "date":
                return "Write it in quotes."
            case "int", "float":
                return "Write it without a fraction."
            case "array", "object":
                return f"Write [[{name}]], in double brackets."
            case "object", "array":
                return f"Write [{name}], in single brackets."
            case "array", "str":
                return f'Write {name} = ["…"].'
        return self.near or SEE


class _How(NamedTuple):
    """``strict`` and ``closed`` of ``mistakes``."""

    strict: bool
    closed: bool


def mistakes(tree: object, kind: Any, at: Place = (), *, strict: bool = True, closed: bool = False) -> list[Mistake]:
    """What keeps a tree from being of a kind: a Struct, or anything that may be in one; none where nothing does.

    Not ``strict``, a text is read as a number where one is wanted, as it is of variables. ``closed``, a name that a
    Struct does not have is a mistake, whatever the Struct itself says of it.
    """
    bare = _bare(kind)
    how = _How(strict, closed)
    found = list(_in_parts(tree, bare, at, how))
    if not found:
        try:
            msgspec.convert(tree, kind, strict=strict)
        except msgspec.ValidationError as error:
            found.append(_mistake(error, tree, bare, at))
    return found


def did_you_mean(name: object, known: Sequence[str]) -> str:
    """A hint with the names that are near; with all of them where none is and they are few."""
    near = get_close_matches(shorten(name, 40).lower(), known, n=2, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"There are: {', '.join(known)}." if len(known) <= _MOST else ""


def _in_parts(tree: Any, bare: Any, at: Place, how: _How) -> Iterator[Mistake]:
    """Those of its parts, each looked at alone."""
    origin = typing.get_origin(bare)
    if isinstance(tree, list) and origin in (tuple, list):
        for number, one in enumerate(tree):
            yield from mistakes(one, typing.get_args(bare)[0], (*at, number), **how._asdict())
    elif not isinstance(tree, dict):
        return
    elif origin is dict:
        for key, one in tree.items():
            yield from mistakes(one, typing.get_args(bare)[1], (*at, key), **how._asdict())
    elif origin in (types.UnionType, typing.Union) and all(map(_is_struct, typing.get_args(bare))):
        yield from _in_one_of(tree, typing.get_args(bare), at, how)
    elif _is_struct(bare):
        yield from _in_struct(tree, bare, at, how)


def _in_struct(tree: dict[str, Any], kind: type[Struct], at: Place, how: _How) -> Iterator[Mistake]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    tag = kind.__struct_config__.tag_field
    for key, one in tree.items():
        if key in fields:
            yield from mistakes(one, fields[key].type, (*at, key), **how._asdict())
        elif key != tag and (how.closed or kind.__struct_config__.forbid_unknown_fields):
            yield Mistake(at=(*at, key), says="there is no such setting", near=did_you_mean(key, list(fields)))
    for name, field in fields.items():
        if field.required and name not in tree:
            yield Mistake(at=(*at, name), says="is missing")


def _in_one_of(tree: dict[str, Any], kinds: Sequence[type[Struct]], at: Place, how: _How) -> Iterator[Mistake]:
    """Of Structs that a tag tells apart."""
    tag = str(kinds[0].__struct_config__.tag_field)
    tagged = {str(kind.__struct_config__.tag): kind for kind in kinds}
    given = tree.get(tag)
    if given is None:
        yield Mistake(at=(*at, tag), says="is missing", near=f"There are: {', '.join(tagged)}.")
    elif not isinstance(given, str) or given not in tagged:
        yield _not_of(list(tagged), given, (*at, tag))
    else:
        yield from _in_struct(tree, tagged[given], at, how)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _bare(kind: Any) -> Any:
    """The type without its annotations, and without None where that is one of two."""
    if typing.get_origin(kind) is typing.Annotated:
        return _bare(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        others = [one for one in typing.get_args(kind) if one is not types.NoneType]
        return _bare(others[0]) if len(others) == 1 else kind
    return kind


def _mistake(error: msgspec.ValidationError, value: object, bare: Any, at: Place) -> Mistake:
    message = str(error).partition(" - at `")[0]
    if message.startswith("Invalid enum value"):
        return _not_of([str(one) for one in typing.get_args(bare)], value, at)
    found = reason(message, value, _WORDS)
    told = value if isinstance(value, int | float) else None  # a text may be a secret
    return Mistake(at=at, says=found.says, value=told, expected=found.expected, got=found.got)


def _not_of(known: Sequence[str], value: object, at: Place) -> Mistake:
    near = get_close_matches(shorten(value, 40).lower(), known, n=1)
    meant = f"Did you mean {near[0]}?" if near else ""
    return Mistake(at=at, says=f"must be one of {', '.join(known)}", near=meant, value=value)
