"""Bodies of requests: read within bounds of size and time, decompressed within bounds of size.

Used by the routes that take events. A compressed body is never unpacked further than the bound, so a few kilobytes
that would unpack to gigabytes cost no more than the bound.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import zstandard
from anyio.to_thread import run_sync
from starlette.requests import ClientDisconnect, Request

from barograph.core.settings import ServerSettings
from barograph.server.problems import RETRY_SECONDS, Problem

ENCODINGS = ("identity", "gzip", "deflate", "zstd")
_UNPACKED_AT_A_TIME = 2  # bodies, whose plain bytes are counted only when they are there
_MOST_MEMBERS = 100  # members of a gzip body, frames of a zstd body
_GZIP, _ZLIB = 31, 15  # zlib's window bits, which also tell the format
_ZSTD_WINDOW = 27  # 128 MiB: what a decompressor may have to remember
_ZSTD_GROWTH = 2**15  # times that a byte may grow: a block of 4 bytes makes 128 KiB at most
_ZSTD_STEP = 64  # bytes that are unpacked at a time at least


class Admission:
    """How much is worked on at a time. For one event loop."""

    def __init__(self, requests: int, waiting_bytes: int) -> None:
        self._most_requests = requests
        self._most_bytes = waiting_bytes
        self.requests = 0
        self.bytes = 0
        self.turned_away = 0
        self.unpacking = anyio.CapacityLimiter(_UNPACKED_AT_A_TIME)

    @asynccontextmanager
    async def request(self) -> AsyncIterator[Admitted]:
        """What one request holds, until its end."""
        admitted = Admitted(self)
        try:
            yield admitted
        finally:
            self.requests -= admitted.works
            self.bytes -= admitted.bytes

    def work(self) -> None:
        """Count one more request that is worked on. Raises Problem 503 where they are too many."""
        if self.requests >= self._most_requests:
            self.turned_away += 1
            raise Problem(
                503,
                "too-busy",
                f"{self._most_requests} requests are being worked on",
                hint="Send it again after the seconds in Retry-After; nothing of it was kept.",
                retry_after=RETRY_SECONDS,
            )
        self.requests += 1

    def hold(self, size: int) -> None:
        """Count bytes of a body. Raises Problem 503 where they are too many together."""
        if self.bytes + size > self._most_bytes:
            self.turned_away += 1
            raise Problem(
                503,
                "too-busy",
                f"{self.bytes:,} bytes of requests are being worked on",
                hint="Send it again after the seconds in Retry-After; nothing of it was kept.",
                retry_after=RETRY_SECONDS,
            )
        self.bytes += size


class Admitted:
    """What one request holds of the bounds."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.bytes = 0
        self.works = False

    @property
    def unpacking(self) -> anyio.CapacityLimiter:
        """Who may unpack a body now."""
        return self._admission.unpacking

    def work(self) -> None:
        """Take a place, once the body is whole: one that never comes keeps nobody out. Raises Problem 503."""
        self._admission.work()
        self.works = True

    def hold(self, size: int) -> None:
        """Count more bytes for this request. Raises Problem 503."""
        self._admission.hold(size)
        self.bytes += size


async def read_body(request: Request, settings: ServerSettings, admitted: Admitted) -> bytes:
    """The body, whole and decompressed; the request has its place then. Raises Problem 400, 408, 413, 415 or 503."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ENCODINGS:
        raise Problem(415, "unknown-encoding", "the body's Content-Encoding is not known here",
                      hint=f"Use one of {', '.join(ENCODINGS)}.")  # fmt: skip
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > settings.body_bytes:
        raise too_large(settings.body_bytes)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for part in request.stream():
                size += len(part)
                if size > settings.body_bytes:
                    raise too_large(settings.body_bytes)
                admitted.hold(len(part))
                parts.append(part)
    except TimeoutError:
        raise Problem(408, "too-slow", f"the body did not come within {settings.body_seconds:g} s",
                      hint="Send smaller batches.") from None  # fmt: skip
    except ClientDisconnect:
        raise Problem(400, "cut-off", "the connection ended before the body did") from None
    admitted.work()
    body = b"".join(parts)
    if encoding == "identity":
        return body
    unpack = partial(decompress, body, encoding, settings.plain_bytes)
    plain = await run_sync(unpack, limiter=admitted.unpacking)  # it may take a while
    admitted.hold(len(plain))
    return plain


def decompress(body: bytes, encoding: str, most: int) -> bytes:
    """The plain bytes, at most so many. Raises Problem 400 or 413."""
    try:
        plain = _zstd(body, most) if encoding == "zstd" else _zlib(body, _GZIP if encoding == "gzip" else _ZLIB, most)
    except (zlib.error, zstandard.ZstdError, MemoryError) as error:
        raise Problem(400, "damaged-body", f"the body cannot be decompressed as {encoding}: {error}",
                      hint="Check Content-Encoding and that the body is whole.") from None  # fmt: skip
    if len(plain) > most:
        raise too_large(most, "decompressed ")
    return plain


def _zlib(body: bytes, window: int, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    members = 0
    while body:
        members += 1
        if members > _MOST_MEMBERS:  # each costs a copy of what is left
            raise zlib.error(f"it has more than {_MOST_MEMBERS} members")
        unpacker = zlib.decompressobj(window)
        parts.append(unpacker.decompress(body, most + 1 - size))
        size += len(parts[-1])
        if size > most:
            break
        if not unpacker.eof:
            raise zlib.error("it ends too early")
        body = unpacker.unused_data  # a gzip file may have several members
    return b"".join(parts)


def _zstd(body: bytes, most: int) -> bytes:
    parts: list[bytes] = []
    size = at = frames = 0
    while at < len(body):
        frames += 1
        if frames > _MOST_MEMBERS:
            raise zstandard.ZstdError(f"it has more than {_MOST_MEMBERS} frames")
        unpacker = zstandard.ZstdDecompressor(max_window_size=2**_ZSTD_WINDOW).decompressobj()
        while at < len(body) and not unpacker.eof:
            step = max(_ZSTD_STEP, (most - size) // _ZSTD_GROWTH)  # so that no step makes much more than what is left
            parts.append(unpacker.decompress(body[at : at + step]))
            at += step
            size += len(parts[-1])
            if size > most:
                return b"".join(parts)
        if not unpacker.eof:
            raise zstandard.ZstdError("it ends too early")
        at = min(at, len(body)) - len(unpacker.unused_data)  # there may be several frames
    return b"".join(parts)


def too_large(most: int, what: str = "") -> Problem:
    """The answer to a body that is too large."""
    return Problem(413, "too-large", f"a {what}body has at most {most:,} bytes",
                   hint="Send smaller batches, or raise server.body_bytes or server.plain_bytes.")  # fmt: skip
