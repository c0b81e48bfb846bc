"""What the journal asks of the disk: synced writes, durable folders, atomic replacement, and names for failures.

Everything here works on plain descriptors and paths and raises ``OSError``; ``journal_error`` turns one into the
error that a caller sees. Used by every module of the journal that writes.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from barograph_client.errors import DiskFull, JournalError, JournalReadOnly

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync alone stops at the drive's cache


def sync_file(descriptor: int) -> None:
    """Return when the file's bytes and its length are on disk."""
    if _FULL_SYNC is not None:
        fcntl.fcntl(descriptor, _FULL_SYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Return when the folder's entries are on disk: without it a new file may be gone after a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(path: Path) -> None:
    """Make the folder and those above it, each durable in its parent."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        try:
            sync_directory(folder.parent)
        except OSError:
            folder.rmdir()  # the next attempt must not take it for durable
            raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; the system may take fewer than it is given."""
    done = os.write(descriptor, data)
    if done == len(data):
        return
    view = memoryview(data)
    while done < len(data):
        done += os.write(descriptor, view[done:])


def read_range(path: Path, start: int, end: int) -> bytes:
    """The bytes of a file from ``start`` to ``end``, fewer if it ends before."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while start < end:
            part = os.pread(descriptor, end - start, start)
            if not part:
                break
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(descriptor)


def write_new(path: Path, data: bytes) -> None:
    """Write a whole file under a temporary name, sync it, and give it its name: all of it is there, or none."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(descriptor, data)
            sync_file(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)  # a full disk has no room for halves
        raise
    sync_directory(path.parent)


def journal_error(error: Exception, doing: str) -> JournalError:
    """The error to tell a caller whose events could not be kept."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL:
        return DiskFull(
            f"no space is left while {doing}",
            hint="Nothing of this was kept. Free some space and send it again; what was acknowledged is safe.",
        )
    if number in _READ_ONLY:
        return JournalReadOnly(
            f"not allowed while {doing}: {error}",
            hint="Check the owner, the permissions and the mount of the data directory, then send it again.",
        )
    return JournalError(
        f"failed while {doing}: {error}",
        hint="Nothing of this was kept. Check the disk and send it again; what was acknowledged is safe.",
    )
