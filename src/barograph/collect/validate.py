"""From what a program sent, a mapping or a line of JSON, to a typed event, or an InvalidEvent that says why not.

Used by ``intake``. The fast path takes a dict that holds nothing but our fields: one look at its keys, one conversion.
Whatever it cannot take goes the thorough way: ``plain`` makes builtin types of it, ``aliases`` our names, the rest
become tags, and ``explain`` tells what is still wrong. Nothing but InvalidEvent is raised.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from barograph.collect.explain import explain
from barograph.core.event import (
    AHEAD_SECONDS,
    CALLER_KINDS,
    EARLIEST,
    EPOCH,
    MAX_TAG_TEXT,
    MAX_TAGS,
    Document,
    Event,
    Feedback,
)
from barograph_client.aliases import ALIASES, Alias
from barograph_client.clock import Clock, as_utc
from barograph_client.errors import InvalidEvent, shorten
from barograph_client.identifiers import IdentifierSource
from barograph_client.limits import MAX_LINE
from barograph_client.plain import Plain, plain, tag_text
from barograph_client.sendable import unsendable

MAX_TAG_NAME = 128
_RECEIVED = len(',"received_at":"2026-11-24T09:00:00.000000Z"}\n')  # what the journal adds to a line
_AHEAD = timedelta(seconds=AHEAD_SECONDS)
_EARLIEST_EPOCH = EARLIEST.timestamp()
_DOCUMENT_FIELDS = frozenset(Document.__struct_fields__)
_encoder = msgspec.json.Encoder()
_decode = msgspec.json.Decoder().decode


class _Schema(NamedTuple):
    struct: type[Event]
    fields: frozenset[str]  # the struct's own and ``kind``
    aliases: dict[str, Alias]


def _schema(kind: str, struct: type[Event]) -> _Schema:
    aliases = {alias.name: alias for alias in ALIASES.get(kind, ()) if alias.name not in struct.__struct_fields__}
    return _Schema(struct, frozenset((*struct.__struct_fields__, "kind")), aliases)


_SCHEMAS = MappingProxyType({kind: _schema(kind, struct) for kind, struct in CALLER_KINDS.items()})
_DOCUMENT_ALIASES = {alias.name: alias for alias in ALIASES["document"]}


class Validator:
    """Makes events of one project. Safe to share between threads."""

    def __init__(self, clock: Clock, identifiers: IdentifierSource, project: str = "default") -> None:
        self._clock = clock
        self._new_id = identifiers.new
        self.project = project
        self._sets_project = project != "default"

    def event(self, kind: str, raw: object, moment: datetime | None = None, event_id: str = "") -> Event:
        """The event of a mapping. ``moment`` and ``event_id`` are for one that has none.

        Raises InvalidEvent, and nothing else.
        """
        try:
            schema = _SCHEMAS.get(kind)
            if schema is None:
                raise _unknown_kind(kind)
            now = self._clock.now()
            if type(raw) is dict and raw.keys() <= schema.fields:
                try:
                    return self._convert(schema, dict(raw), now, moment, event_id)
                except (msgspec.ValidationError, _Thorough):
                    pass
            return self._thorough(schema, raw, now, moment, event_id)
        except InvalidEvent:
            raise
        except Exception as error:  # an object that does not want to be read
            raise InvalidEvent("", f"cannot be read: {type(error).__name__}: {shorten(_said(error), 60)}") from None

    def _convert(
        self, schema: _Schema, fields: dict[str, object], now: datetime, moment: datetime | None, event_id: str
    ) -> Event:
        if "event_id" not in fields:
            fields["event_id"] = event_id or self._new_id()
        if "time" not in fields:
            fields["time"] = moment or now
        else:
            fields["time"] = _time(fields["time"], now)
        if "tags" in fields:
            _check_tags(fields["tags"])
        if "documents" in fields:
            _check_documents(fields["documents"], fields)
        if "status" not in fields and (fields.get("error_type") or fields.get("error_message")):
            fields["status"] = "error"
        if schema.struct is Feedback and fields.get("rating") is None and not fields.get("comment"):
            raise InvalidEvent("rating", "is missing", hint="Give a rating from 1 to 5, a comment, or both.")
        if self._sets_project:
            fields.setdefault("project", self.project)
        if "origin" in fields and fields["origin"] != "caller":
            raise InvalidEvent("origin", "is for Barograph's own events", value=fields["origin"])
        return msgspec.convert(fields, schema.struct)

    def _thorough(self, schema: _Schema, raw: object, now: datetime, moment: datetime | None, event_id: str) -> Event:
        read = plain(raw)
        if not isinstance(read, dict):
            raise InvalidEvent("", f"an event is a mapping of fields to values, not {type(raw).__name__}", value=raw)
        given: dict[str, Plain] = {name: value for name, value in read.items() if value is not None}
        fields = _canonical(given, schema.fields, schema.aliases)
        if "documents" in fields and "documents" in schema.fields:
            fields["documents"] = _documents(fields["documents"], fields)
        for name in ("tags", "attributes"):
            if name in fields and name in schema.fields:
                fields[name] = _texts(fields[name], name)
        _rest_to_tags(fields, schema.fields)
        try:
            return self._convert(schema, dict(fields), now, moment, event_id)
        except msgspec.ValidationError as error:
            raise explain(error, fields) from None


class _Thorough(Exception):
    """The fast path cannot say what to make of it; the thorough one has no need to."""


def _check_documents(documents: object, fields: dict[str, object]) -> None:
    if type(documents) is not list:
        raise _Thorough
    for document in documents:
        if type(document) is not dict or not document.keys() <= _DOCUMENT_FIELDS:
            raise _Thorough
    if fields.get("document_count") is None:
        fields["document_count"] = len(documents)


def _said(error: Exception) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def _unknown_kind(kind: object) -> InvalidEvent:
    return InvalidEvent(
        "kind", "is not a kind that can be recorded", hint=f"It is one of {', '.join(CALLER_KINDS)}", value=kind
    )


def _check_tags(tags: object) -> None:
    if type(tags) is not dict:
        raise _Thorough
    for name, text in tags.items():
        if type(name) is not str or type(text) is not str:
            raise _Thorough
        if not name or len(name) > MAX_TAG_NAME:
            raise InvalidEvent("tags", f"has a name that is empty or longer than {MAX_TAG_NAME} characters", value=name)
        if len(text) > MAX_TAG_TEXT:
            raise InvalidEvent(
                f"tags.{name}",
                f"has more than {MAX_TAG_TEXT:,} characters",
                hint="Shorten it, or leave it out",
                value=text,
            )
    if len(tags) > MAX_TAGS:
        raise InvalidEvent("tags", f"are more than {MAX_TAGS}", hint="Unknown fields are tags too", value=len(tags))


def _time(value: object, now: datetime) -> datetime:
    """A datetime (naive is UTC), ISO 8601 text or seconds since 1970, inside the window, as a datetime in UTC."""
    if type(value) is datetime:
        moment = value
    elif isinstance(value, datetime):  # a subclass has ways of its own
        moment = _rebuilt(value)
    elif type(value) is str:
        moment = _from_iso(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        moment = _from_epoch(value, now)
    elif value is None or isinstance(value, str) or type(value).__module__.partition(".")[0] in ("numpy", "decimal"):
        raise _Thorough
    else:
        raise InvalidEvent("time", f"must be a time, not {type(value).__name__}", hint=_TIME_HINT, value=value)
    try:
        if moment.tzinfo is not UTC:
            moment = as_utc(moment)
        if EARLIEST <= moment <= now + _AHEAD:
            return moment
    except OverflowError:
        pass
    raise _outside(value)


_TIME_HINT = "Give an ISO 8601 text with a zone, a datetime, or seconds since 1970"


def _outside(value: object) -> InvalidEvent:
    reason = f"lies outside {EARLIEST:%Y-%m-%d} to {AHEAD_SECONDS / 60:g} minutes ahead of the clock"
    return InvalidEvent("time", reason, hint=_TIME_HINT, value=value)


def _rebuilt(value: datetime) -> datetime:
    try:
        return datetime.fromisoformat(datetime.isoformat(value))
    except Exception:  # such as a "not a time" that is a datetime all the same
        raise InvalidEvent("time", "is not a time", hint=_TIME_HINT, value=value) from None


def _from_iso(text: str) -> datetime:
    if len(text) <= 64 and text[4:5] == "-" and text[7:8] == "-":  # not the basic form: it is all digits
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
    raise InvalidEvent("time", "is not an ISO 8601 time", hint=_TIME_HINT, value=text)


def _from_epoch(seconds: int | float, now: datetime) -> datetime:
    if not _EARLIEST_EPOCH <= seconds <= now.timestamp() + AHEAD_SECONDS:  # NaN fails too
        raise _outside(seconds)
    return EPOCH + timedelta(seconds=seconds)


def _canonical(given: dict[str, Plain], known: frozenset[str], aliases: dict[str, Alias]) -> dict[str, Plain]:
    """The fields by our names. Raises InvalidEvent where two stand for the same."""
    fields: dict[str, Plain] = {}
    source: dict[str, str] = {}
    for name, value in given.items():
        alias = None if name in known else aliases.get(name)
        field = alias.field if alias else name
        if field in fields:
            raise InvalidEvent(
                field, f"is given twice, as {source[field]} and as {name}", hint="Send one of the two", value=value
            )
        fields[field] = alias.convert(value, name) if alias and alias.convert else value
        source[field] = name
    return fields


def _documents(documents: Plain, fields: dict[str, Plain]) -> list[Plain]:
    """The documents by our names. What no field of theirs takes becomes a tag: ``documents.page``, a list."""
    if not isinstance(documents, list):
        raise InvalidEvent("documents", f"must be a list, not {type(documents).__name__}", value=documents)
    result: list[Plain] = []
    rest: dict[str, list[Plain]] = {}
    for i, document in enumerate(documents):
        if not isinstance(document, dict):
            raise InvalidEvent(f"documents[{i}]", "must be a mapping", hint=_CONTEXTS_HINT, value=document)
        given: dict[str, Plain] = {name: value for name, value in document.items() if value is not None}
        metadata = given.pop("metadata") if isinstance(given.get("metadata"), dict) else None
        try:
            named = _canonical(given, _DOCUMENT_FIELDS, _DOCUMENT_ALIASES)
        except InvalidEvent as error:
            raise InvalidEvent(f"documents[{i}].{error.field}", error.reason, hint=error.hint) from None
        if isinstance(metadata, dict):
            _add_metadata(named, metadata)
        for name in [name for name in named if name not in _DOCUMENT_FIELDS]:
            rest.setdefault(f"documents.{name}", [None] * len(documents))[i] = named.pop(name)
        result.append(named)
    fields.update(rest)
    return result


def _add_metadata(named: dict[str, Plain], metadata: dict[str, Plain]) -> None:
    """Entries that fit a field that is still free fill it, our names first; the others stay under names of their own.

    Metadata is whatever a loader found: two entries for one field, or a text where we have a number, are no mistake.
    """
    entries = {name: value for name, value in metadata.items() if value is not None}
    for name in sorted(entries, key=lambda name: name not in _DOCUMENT_FIELDS):
        alias = None if name in _DOCUMENT_FIELDS else _DOCUMENT_ALIASES.get(name)
        field = alias.field if alias else name
        if field not in named and (field not in _DOCUMENT_FIELDS or _fits(field, entries[name])):
            named[field if field in _DOCUMENT_FIELDS else name] = entries[name]
        else:
            named[f"metadata.{name}"] = entries[name]


def _fits(field: str, value: Plain) -> bool:
    try:
        msgspec.convert({field: value}, Document)
    except msgspec.ValidationError:
        return False
    return True


_CONTEXTS_HINT = "Plain texts can be sent as contexts"


def _texts(value: Plain, name: str) -> Plain:
    if not isinstance(value, dict):
        raise InvalidEvent(name, f"must be a mapping of names to texts, not {type(value).__name__}", value=value)
    return {key: tag_text(item, f"{name}.{key}") for key, item in value.items() if item is not None}


def _rest_to_tags(fields: dict[str, Plain], known: frozenset[str]) -> None:
    """Move the fields that the kind does not have into the tags, in order."""
    rest = [name for name in fields if name not in known]
    if not rest:
        return
    tags = fields.get("tags") or {}
    assert isinstance(tags, dict)
    for name in rest:
        text = tag_text(fields.pop(name), name)
        if len(text) > MAX_TAG_TEXT or not 0 < len(name) <= MAX_TAG_NAME:
            raise InvalidEvent(
                name,
                f"is no field of this kind, and too long for a tag ({MAX_TAG_TEXT:,} characters)",
                hint="Shorten it, or leave it out",
                value=text,
            )
        if tags.setdefault(name, text) != text:
            raise InvalidEvent(name, "is in the tags too, with another value", hint="Send one of the two", value=text)
    fields["tags"] = tags


def decode(line: bytes | bytearray | memoryview | str) -> object:
    """What a line of JSON holds. Raises InvalidEvent."""
    if len(line) > MAX_LINE:
        raise InvalidEvent("", f"a line has at most {MAX_LINE:,} bytes", hint="Shorten its texts", value=len(line))
    try:
        return _decode(line.removeprefix(BOM_UTF8) if isinstance(line, bytes) else line)
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise InvalidEvent("", f"the line is not UTF-8: {error.reason}", value=line) from None
    except RecursionError:
        raise InvalidEvent("", "the line is nested too deep", value=line) from None
    except (msgspec.MsgspecError, ValueError) as error:
        return _lenient(line, error)


def _lenient(line: bytes | bytearray | memoryview | str, error: Exception) -> object:
    """A line with NaN, an infinity or half a surrogate pair, which JSON has not; the field is told later."""
    try:
        text = line if isinstance(line, str) else bytes(line).decode("utf-8")
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        raise InvalidEvent("", f"the line cannot be read: {error}", value=line) from None


def encode(event: Event) -> bytes:
    """The event as JSON without the closing brace, as the journal takes it. Raises InvalidEvent."""
    try:
        body = _encoder.encode(event)
    except UnicodeEncodeError:
        found = unsendable(msgspec.to_builtins(event))
        raise (found or InvalidEvent("", "holds a text that is not valid Unicode")) from None
    if len(body) + _RECEIVED > MAX_LINE:
        raise InvalidEvent(
            "", f"an event has at most {MAX_LINE:,} bytes as JSON", hint="Shorten its texts", value=len(body)
        )
    return body[:-1]
