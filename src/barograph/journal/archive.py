"""The archive: closed segments, compressed, verified, and read as if they were plain.

A segment becomes ``archive/journal/<kind>/<day>/<segment>.jsonl.zst``, a row of zstd frames (any zstd tool reads
it), and an entry in ``index.json`` beside it. The plain file goes only after the compressed one was read back and
had the same SHA-256, and after the index is on disk, so a crash at any point leaves one of the two whole. Used by
``catalogue`` (at the start) and ``journal``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import zstandard

from barograph.journal.disk import make_directories, read_range, sync_directory, sync_file, write_all, write_new
from barograph.journal.heads import count_projects, project_of_event
from barograph.journal.segment import Lines, Packed
from barograph_client.errors import JournalError

INDEX = "index.json"
SUFFIX = ".jsonl.zst"
FRAME_BYTES = 1 << 22  # a frame is the least that is decompressed to read anything
_LEVEL = 6


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """``index.json``: what a day's folder of the archive holds."""

    segments: tuple[Packed, ...]


def read_index(folder: Path) -> dict[str, Packed]:
    """The folder's entries by segment; empty if the file is missing or damaged."""
    try:
        index = msgspec.json.decode((folder / INDEX).read_bytes(), type=Index)
    except (OSError, msgspec.DecodeError):
        return {}
    return {packed.segment: packed for packed in index.segments}


def write_index(folder: Path, entries: Iterable[Packed]) -> None:
    """Replace the folder's index, all or nothing."""
    index = Index(segments=tuple(sorted(entries, key=lambda packed: packed.segment)))
    write_new(folder / INDEX, msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n")


def pack(plain: Path, size: int, folder: Path, stem: str, projects: Lines) -> Packed:
    """Compress the first ``size`` bytes of a plain segment into the folder and read them back.

    Raises JournalError if what was read back differs; the plain file is not touched.
    """
    make_directories(folder)
    target = folder / (stem + SUFFIX)
    temporary = target.with_name(target.name + ".tmp")
    try:
        packed = msgspec.structs.replace(_compress(plain, size, temporary, stem), projects=projects)
        verify(temporary, packed)
        temporary.replace(target)
    except (OSError, JournalError) as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise
        raise JournalError(
            f"{target} did not read back as it was written: {error.message}",
            hint="Check the disk; the plain file was kept, and the next attempt begins anew.",
        ) from None
    sync_directory(folder)
    return packed


def _compress(plain: Path, size: int, target: Path, stem: str) -> Packed:
    digest, lines, frames = hashlib.sha256(), 0, []
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        for start in range(0, size, FRAME_BYTES):
            part = read_range(plain, start, min(start + FRAME_BYTES, size))
            digest.update(part)
            lines += part.count(b"\n")
            frame = compressor.compress(part)
            write_all(descriptor, frame)
            frames.append(len(frame))
        sync_file(descriptor)
    finally:
        os.close(descriptor)
    return Packed(
        segment=stem,
        lines=lines,
        bytes=size,
        sha256=digest.hexdigest(),
        frame_bytes=FRAME_BYTES,
        frames=tuple(frames),
    )


def verify(path: Path, packed: Packed) -> None:
    """Read a compressed segment whole. Raises JournalError unless it holds what its entry says."""
    digest, size = hashlib.sha256(), 0
    for part in _frames(path, packed, 0, len(packed.frames)):
        digest.update(part)
        size += len(part)
    if size != packed.bytes or digest.hexdigest() != packed.sha256:
        raise JournalError(f"{path} does not hold what its index says", hint="Restore this file from a backup.")


def read_packed(path: Path, packed: Packed, start: int, end: int) -> bytes:
    """Plain bytes ``start`` to ``end`` of a compressed segment. Raises OSError, or JournalError if it is damaged."""
    end = min(end, packed.bytes)
    if start >= end:
        return b""
    first, last = start // packed.frame_bytes, (end - 1) // packed.frame_bytes + 1
    data = b"".join(_frames(path, packed, first, last))
    offset = first * packed.frame_bytes
    return data[start - offset : end - offset]


def _frames(path: Path, packed: Packed, first: int, last: int) -> Iterator[bytes]:
    offset = sum(packed.frames[:first])
    for length in packed.frames[first:last]:
        frame = read_range(path, offset, offset + length)
        try:
            yield b"".join(part for part, _ in _unpack(frame))
        except zstandard.ZstdError as error:
            raise JournalError(
                f"{path} is damaged near byte {offset}: {error}", hint="Restore this file from a backup."
            ) from None
        offset += length


def describe(path: Path) -> Packed:
    """The entry of a compressed segment whose index was lost, by reading it whole.

    Raises OSError, or ``zstandard.ZstdError`` if it is damaged.
    """
    digest, lines, plain, frames = hashlib.sha256(), 0, [], []

    def parts() -> Iterator[bytes]:
        nonlocal lines
        for part, length in _unpack(path.read_bytes()):
            digest.update(part)
            lines += part.count(b"\n")
            plain.append(len(part))
            frames.append(length)
            yield part

    projects = count_projects(parts(), project_of_event)
    regular = all(size == plain[0] for size in plain[:-1]) and (not plain or plain[-1] <= plain[0])
    if not regular:  # not cut by us: it can only be read as one piece
        plain, frames = [sum(plain)], [sum(frames)]
    return Packed(
        segment=path.name.removesuffix(SUFFIX),
        lines=lines,
        bytes=sum(plain),
        sha256=digest.hexdigest(),
        frame_bytes=plain[0] if len(plain) > 1 else max([FRAME_BYTES, *plain]),
        frames=tuple(frames),
        projects=projects,
    )


def _unpack(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Each frame's plain bytes and its compressed length."""
    while data:
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        plain = decompressor.decompress(data)
        if not decompressor.eof:
            raise zstandard.ZstdError("the last frame is cut")
        rest = decompressor.unused_data
        yield plain, len(data) - len(rest)
        data = rest
