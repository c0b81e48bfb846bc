"""One process owns a data directory: the file ``lock``, held with ``flock``, names the owner.

It also remembers whether the last owner closed the journal, so that a start after a crash is noticed, and tells where
the owner answers over HTTP, if it does, with the token that lets whoever may read this file in. The system drops the
lock when its owner dies, however it dies. Used by ``journal``; the command line reads it to find the server.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from barograph.journal.disk import journal_error, make_directories, sync_directory
from barograph_client.errors import DirectoryLocked

FILE_NAME = "lock"
_LENGTH = 4095  # bytes before the line feed: always the same, so one write replaces the other whole


class Owner(msgspec.Struct, frozen=True):
    """What the file says: who has the directory, or had it last, whether it was closed, and where it answers."""

    pid: int
    state: str  # "open" or "clean"
    address: str = ""  # http://127.0.0.1:4318
    token: str = ""
    certificate: str = ""  # the file of the one it shows, where it speaks TLS


class DirectoryLock:
    """Held from construction to ``release``. Raises DirectoryLocked, or JournalReadOnly where it cannot be taken.

    ``was_clean`` is true when the last owner closed, None when there was no owner before.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / FILE_NAME
        try:
            make_directories(directory)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise journal_error(error, f"opening {path}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(self._descriptor, 0o600)  # it may hold a token
            before = _read(self._descriptor)
            empty = os.fstat(self._descriptor).st_size == 0
            self.was_clean: bool | None = None if empty else before is not None and before.state == "clean"
            self._write("open")
            sync_directory(directory)
        except BlockingIOError:
            owner = _read(self._descriptor)
            os.close(self._descriptor)
            raise _locked(directory, owner) from None
        except OSError as error:
            os.close(self._descriptor)
            raise journal_error(error, f"locking {path}") from error

    def _write(self, state: str, address: str = "", token: str = "", certificate: str = "") -> None:
        text = msgspec.json.encode(Owner(os.getpid(), state, address, token, certificate)).ljust(_LENGTH) + b"\n"
        os.pwrite(self._descriptor, text, 0)
        os.fsync(self._descriptor)

    def tell_address(self, address: str, token: str, certificate: str) -> None:
        """Say where this process answers over HTTP; nothing when it does no longer."""
        if self._descriptor >= 0:
            self._write("open", address, token, certificate)

    def release(self, *, clean: bool) -> None:
        """Give the directory up; ``clean`` says that nothing is left to recover."""
        if self._descriptor < 0:
            return
        with suppress(OSError):  # the next start takes it for a crash, which is safe
            if clean:
                self._write("clean")
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # closing would leave it to a child that was just forked
        os.close(self._descriptor)
        self._descriptor = -1

    def abandon(self) -> None:
        """In a forked child: let go of the copy of the descriptor; the parent keeps the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def server_of(directory: Path) -> Owner | None:
    """Who has the directory now and answers over HTTP; None where nobody does, or the file may not be read."""
    try:
        descriptor = os.open(directory / FILE_NAME, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = _read(descriptor)
        return owner if owner is not None and owner.address else None
    except OSError:
        return None
    finally:
        os.close(descriptor)  # and with it the lock, if nobody had it
    return None


def _read(descriptor: int) -> Owner | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, 4 * _LENGTH, 0), type=Owner)
    except (OSError, msgspec.DecodeError):
        return None


def _locked(directory: Path, owner: Owner | None) -> DirectoryLocked:
    pid = owner.pid if owner else None
    if pid == os.getpid():
        who, hint = "this process already", "Use the journal that is open, or close it first."
    elif owner and owner.address:
        who = f"the Barograph server at {owner.address} (process {pid})"
        hint = f"Send to it with barograph.Client({owner.address!r}), ask it with the commands, or stop it."
    else:
        who = f"process {pid}" if pid else "another process"
        hint = "Stop it, or ask and record inside it; `barograph serve` shares a directory over HTTP."
    return DirectoryLocked(f"the data directory {directory} is in use by {who}", pid=pid, hint=hint)
