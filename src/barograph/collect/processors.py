"""Processors: what happens to a valid event before it is kept. Each is a callable ``Event -> Event | None``.

``from_settings`` makes the list that ``metrics_collector`` runs, in order: hash user ids, redact, add tags, sample.
None means that the event is not kept. Events of Barograph's own (origin ``internal``) are made from what has
been through here already, so user ids in them are not hashed again.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import msgspec

from barograph.collect.otel_labels import USER_ATTRIBUTES, USER_METADATA
from barograph.collect.redact import Redact
from barograph.core.event import MAX_TAGS, Attribution, Event, Exposure, Feedback, Query, Score, Span, Tags
from barograph.core.settings import CollectSettings
from barograph_client.errors import InvalidSettings, JournalError

__all__ = ["KEY_FILE", "AddTags", "HashUsers", "Processor", "Redact", "Sample", "from_settings", "user_hash_key"]

Processor = Callable[[Event], Event | None]

KEY_FILE = "user-hash.key"
_KEY_BYTES = 32
_HASH_BYTES = 16  # 128 bits: no two of any number of users that exists share one
_SAMPLE_BITS = 64


def from_settings(settings: CollectSettings, key_path: Path | None) -> list[Processor]:
    """The processors that the settings ask for.

    ``key_path`` is where the key for user ids is kept; it is made there when it is needed and missing. Raises
    InvalidSettings when a setting, or the key's file, cannot be used.
    """
    processors: list[Processor] = []
    if settings.hash_users:
        if key_path is None:
            raise InvalidSettings(
                "hash_users needs a file for its key", hint=f"Give the path of {KEY_FILE} in the data directory."
            )
        processors.append(HashUsers(user_hash_key(key_path)))
    if settings.redact or settings.redact_patterns:
        processors.append(Redact(settings.redact, settings.redact_patterns))
    if settings.tags:
        processors.append(AddTags(settings.tags))
    if settings.sample < 1:
        processors.append(Sample(settings.sample))
    return processors


class HashUsers:
    """Replaces user ids by a keyed hash: the same user stays the same, who it is cannot be read.

    BLAKE2b with the key (RFC 7693), 16 bytes in hexadecimal. Also hashed are the unit of an exposure that is a
    user, so that experiments still find the user's queries, and the user in a span's attributes.
    """

    def __init__(self, key: bytes) -> None:
        if not 16 <= len(key) <= blake2b.MAX_KEY_SIZE:
            raise InvalidSettings(f"the key for user ids has {len(key)} bytes, not 16 to {blake2b.MAX_KEY_SIZE}")
        self._key = key

    def __call__(self, event: Event) -> Event:
        if event.origin == "internal":
            return event
        if isinstance(event, Query | Feedback | Score | Attribution) and event.user_id:
            return msgspec.structs.replace(event, user_id=self.hash(event.user_id))
        if isinstance(event, Exposure) and event.unit_kind == "user":
            return msgspec.structs.replace(event, unit_id=self.hash(event.unit_id))
        if isinstance(event, Span):
            return self._span(event)
        return event

    def _span(self, span: Span) -> Span:
        """Wherever the query event that is made of the trace would find the user."""
        attributes = span.attributes
        users = {name: self.hash(attributes[name]) for name in USER_ATTRIBUTES if attributes.get(name)}
        metadata = attributes.get("metadata", "")
        if any(name in metadata for name in USER_METADATA):
            users["metadata"] = self._metadata(metadata)
        return msgspec.structs.replace(span, attributes=attributes | users) if users else span

    def _metadata(self, text: str) -> str:
        try:
            found = msgspec.json.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return text
        if not isinstance(found, dict):
            return text
        hashed = {
            name: self.hash(value if isinstance(value, str) else msgspec.json.encode(value).decode())
            for name in USER_METADATA
            if (value := found.get(name)) not in (None, "")
        }
        return msgspec.json.encode(found | hashed).decode() if hashed else text

    def hash(self, user_id: str) -> str:
        """The hash that stands for a user id; also what a caller looks a user up by."""
        raw = user_id.encode("utf-8", "surrogatepass")
        return blake2b(raw, key=self._key, digest_size=_HASH_BYTES).hexdigest()


class AddTags:
    """Adds tags to every event. The event's own tags win, and it never gets more than an event may have."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        try:
            self._tags = msgspec.convert(dict(tags), Tags)
            for text in (*self._tags, *self._tags.values()):
                text.encode()
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            raise InvalidSettings(f"tags: {error}", hint="Look into collect.tags in the settings.") from None

    def __call__(self, event: Event) -> Event:
        tags = {**self._tags, **event.tags}
        if len(tags) > MAX_TAGS:
            missing = [name for name in self._tags if name not in event.tags]
            room = MAX_TAGS - len(event.tags)
            tags = event.tags | {name: self._tags[name] for name in missing[: max(0, room)]}
        return msgspec.structs.replace(event, tags=tags)


class Sample:
    """Keeps a share of the queries that went well; errors and queries without an answer are all kept.

    The trace id decides (the event id where there is none), so all queries of a trace are kept or none, on every
    machine alike. Other kinds are never left out.
    """

    def __init__(self, rate: float) -> None:
        if not 0 < rate <= 1:
            raise InvalidSettings("a sampling rate is a share above 0, up to 1", value=rate)
        self._limit = int(rate * 2**_SAMPLE_BITS)

    def __call__(self, event: Event) -> Event | None:
        if not isinstance(event, Query) or event.status != "ok":
            return event
        identifier = (event.trace_id or event.event_id).encode("utf-8", "surrogatepass")
        place = int.from_bytes(blake2b(identifier, digest_size=_SAMPLE_BITS // 8).digest(), "big")
        return event if place < self._limit else None


def user_hash_key(path: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> bytes:
    """The key for user ids, in hexadecimal in a file that only its owner may read; made when there is none.

    Raises InvalidSettings when the file does not hold a key (another key would make every user a new one, so
    none is made in its place), and JournalError when it cannot be written.
    """
    try:
        if not path.exists():
            _write_key(path, random_bytes(_KEY_BYTES))
        if stat.S_IMODE(path.stat().st_mode) & 0o077:  # a copy of the directory may have opened it
            with suppress(OSError):
                path.chmod(0o600)
        text = path.read_bytes()
    except OSError as error:
        raise JournalError(
            f"{path.name}: the key for user ids cannot be read or made: {error.strerror}",
            hint="Look at the permissions of the data directory.",
        ) from None
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise InvalidSettings(
            f"{path.name} does not hold a key of {_KEY_BYTES} bytes in hexadecimal",
            hint="Take it from a backup. Only if no user id was ever hashed with it, delete it; a new one is made.",
        )
    return key


def _write_key(path: Path, key: bytes) -> None:
    """Whole or not at all: written beside its place, then given its name, unless somebody else was first."""
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # its owner alone may read it
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{key.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink(missing_ok=True)
