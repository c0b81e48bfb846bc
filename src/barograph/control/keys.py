"""API keys: who may send to a project, and who may read it.

A key is a text, ``barograph_<scope>_<id>_<secret>``: a person sees what it is for, a secret scanner and our own
redaction see that it is one, and its row is found by the id. The secret is 256 random bits, so one SHA-256 is enough
to keep it by: the slow hashes that passwords need make guessing dear, and nobody guesses 256 random bits at any
price. Only the hash is kept. Read by the server for every request, and by the command line.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct, structs
from sqlalchemy import bindparam, insert, or_, select, update

from barograph.control.audit import write_audit
from barograph.control.database import ControlPlane
from barograph.control.projects import DEFAULT
from barograph.control.tables import JsonObject, api_keys
from barograph_client.errors import ControlError, InvalidInput

Scope = Literal["ingest", "read", "admin"]
SCOPES: tuple[Scope, ...] = ("ingest", "read", "admin")
PREFIX = "barograph"
NAME_LENGTH = 128
USED_EVERY = timedelta(minutes=1)  # the time of the last use is kept no more exactly than this
_ID_BYTES = 6  # told apart among a directory's keys; a chance repeat is drawn again
_SECRET_BYTES = 32
_TEXT = re.compile(rf"{PREFIX}_(?:{'|'.join(SCOPES)})_([0-9a-f]{{{2 * _ID_BYTES}}})_[0-9a-f]{{{2 * _SECRET_BYTES}}}")
_NO_HASH = "0" * 64


class Key(Struct, frozen=True, kw_only=True):
    """What is known of a key: everything but its text. ``last_used_at`` is right to the minute."""

    id: str
    project: str
    scope: Scope
    name: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the key may do what needs ``scope``: ingest only sends, read only reads, admin does all."""
        return self.scope in (scope, "admin")

    def is_valid(self, now: datetime) -> bool:
        """Whether it opens anything at that moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class KeyRepository:
    """Creates, finds and revokes keys; safe to share between threads. All methods may raise ControlError."""

    def __init__(self, plane: ControlPlane, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._plane = plane
        self._random = random_bytes

    def create(
        self,
        *,
        project: str = DEFAULT,
        scope: Scope,
        name: str = "",
        actor: str,
        expires_at: datetime | None = None,
    ) -> tuple[Key, str]:
        """A new key, and its text, which is not kept anywhere. Raises InvalidInput.

        Whether the project exists is for the caller to ask (``ProjectRepository.require``): the plane does not know
        the project of the settings.
        """
        now = self._plane.clock.now()
        if scope not in SCOPES:
            raise InvalidInput("no such scope", hint=f"Use one of {', '.join(SCOPES)}.", value=scope)
        if len(name) > NAME_LENGTH:
            raise InvalidInput(f"a key's name has at most {NAME_LENGTH} characters", value=name)
        if expires_at is not None and expires_at <= now:
            raise InvalidInput("the key would have expired already", value=expires_at.isoformat())
        with self._plane.writing() as connection:
            while True:
                key_id = self._random(_ID_BYTES).hex()
                if connection.execute(select(api_keys.c.id).where(api_keys.c.id == key_id)).first() is None:
                    break
            text = f"{PREFIX}_{scope}_{key_id}_{self._random(_SECRET_BYTES).hex()}"
            key = Key(
                id=key_id, project=project, scope=scope, name=name, created_at=now, created_by=actor,
                expires_at=expires_at,
            )  # fmt: skip
            connection.execute(insert(api_keys).values(**structs.asdict(key), hash=_hash(text)))
            detail: JsonObject = {
                "scope": scope,
                "name": name,
                "expires_at": expires_at.isoformat() if expires_at else None,
            }
            write_audit(
                connection, time=now, project=project, actor=actor, action="create", subject=f"key:{key_id}",
                detail=detail,
            )  # fmt: skip
        return key, text

    def list(self, project: str | None = None) -> list[Key]:
        """All keys, or a project's, oldest first; the revoked and expired ones among them."""
        chosen = select(*_COLUMNS).order_by(api_keys.c.created_at, api_keys.c.id)
        if project is not None:
            chosen = chosen.where(api_keys.c.project == project)
        with self._plane.reading() as connection:
            return [Key(**row) for row in connection.execute(chosen).mappings()]

    def revoke(self, key_id: str, actor: str, project: str | None = None) -> Key:
        """Let a key open nothing from now on; a revoked one stays as it is.

        With ``project`` only a key of that project can be revoked. Raises InvalidInput when there is no such key.
        """
        now = self._plane.clock.now()
        with self._plane.writing() as connection:
            row = connection.execute(select(*_COLUMNS).where(api_keys.c.id == key_id)).mappings().first()
            if row is None or project not in (None, row["project"]):
                raise InvalidInput("there is no such key", hint="`barograph key list` shows them.", value=key_id[:40])
            key = Key(**row)
            if key.revoked_at is None:
                key = structs.replace(key, revoked_at=now)
                connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=now))
                write_audit(
                    connection, time=now, project=key.project, actor=actor, action="revoke", subject=f"key:{key_id}",
                    detail={"scope": key.scope, "name": key.name},
                )  # fmt: skip
        return key

    def find(self, text: str) -> Key | None:
        """The key of that text, if it is one that opens something now. Compared in constant time."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        with self._plane.reading() as connection:
            row = connection.execute(_BY_ID, {"wanted": match[1]}).mappings().first()
        kept = str(row["hash"]) if row is not None else _NO_HASH
        same = hmac.compare_digest(_hash(text), kept)  # also for an id that is not there
        if row is None or not same:
            return None
        key = Key(**{column.name: row[column] for column in _COLUMNS})
        now = self._plane.clock.now()
        if not key.is_valid(now):
            return None
        if key.last_used_at is None or now - key.last_used_at >= USED_EVERY:
            self._note_use(key, now)
        return key

    def _note_use(self, key: Key, now: datetime) -> None:
        """Keep when it was used. Who comes with a good key is let in also when that cannot be written."""
        stale = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at <= now - USED_EVERY)
        with suppress(ControlError), self._plane.writing() as connection:
            connection.execute(update(api_keys).where(api_keys.c.id == key.id, stale).values(last_used_at=now))

    def any(self) -> bool:
        """Whether a key was ever made. Revoking the last one closes a server; it does not open it to everybody."""
        with self._plane.reading() as connection:
            return connection.execute(select(api_keys.c.id).limit(1)).first() is not None


_COLUMNS = [api_keys.c[name] for name in Key.__struct_fields__]
_BY_ID = select(*_COLUMNS, api_keys.c.hash).where(api_keys.c.id == bindparam("wanted"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
