"""The definitions as they are now: fetched from the server in a thread, kept on disk, used when the server is away.

Assignment reads a table that is replaced whole, and waits for nothing: until the first answer it is what the last
process knew. Used by ``experiments``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import msgspec

from barograph_client.backoff import Backoff, Pace
from barograph_client.clock import Clock
from barograph_client.errors import InvalidExperiment, ServerUnavailable
from barograph_client.exchange import introduction, unavailable
from barograph_client.experiments.assignment import Assigner
from barograph_client.experiments.definition import Definition
from barograph_client.experiments.sticky import MemoryStickyStore, StickyFile
from barograph_client.settings import Connection
from barograph_client.transport import Transport

PATH = "/api/v1/experiments/definitions"
MOST_BYTES = 8 * 2**20  # of a document, on disk too
_JITTER = 0.2  # of the time between two looks, so that programs which start together do not ask together

Table = Mapping[str, Assigner]


class _Document(msgspec.Struct, frozen=True):
    """What the server sends; each experiment is read by itself, so that a newer one's does not hide the others."""

    experiments: list[msgspec.Raw]


class _Kept(msgspec.Struct, frozen=True):
    etag: str
    document: msgspec.Raw


_decode_document = msgspec.json.Decoder(_Document).decode
_decode_definition = msgspec.json.Decoder(Definition).decode
_decode_kept = msgspec.json.Decoder(_Kept).decode


class CurrentDefinitions:
    """The experiments of a project, looked for again every ``pace.refresh`` seconds. Safe to share between threads.

    ``folder`` is where the last known ones and the sticky buckets are kept; None for in memory only.
    """

    def __init__(
        self,
        connection: Connection,
        folder: Path | None,
        clock: Clock,
        backoff: Backoff,
        pace: Pace,
        random: Callable[[], float],
    ) -> None:
        self._transport = Transport(connection.address, connection.timeout, connection.context, connection.proxy)
        self._headers = introduction(connection.key)
        if connection.project:
            self._headers["Barograph-Project"] = connection.project
        self._clock, self._backoff, self._pace, self._random = clock, backoff, pace, random
        self._path = None if folder is None else folder / f"experiments-{connection.name}.json"
        self.sticky: MemoryStickyStore | StickyFile = (
            MemoryStickyStore() if folder is None else StickyFile(folder / f"sticky-{connection.name}.db")
        )
        self.table: Table = MappingProxyType({})
        self.problem = ""
        self._etag = ""
        self._closed = False
        self._start_afresh()
        self._recall()

    def _start_afresh(self) -> None:
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopping = threading.Event()
        self.answered = threading.Event()  # set once the server has said what there is

    def start(self) -> None:
        """Begin to look, if nobody does yet."""
        if self._thread is not None or self._closed:
            return
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="barograph-experiments", daemon=True)
                with suppress(RuntimeError):  # no thread to be had, as at the very end of the program
                    thread.start()
                    self._thread = thread

    def close(self, timeout: float) -> None:
        """End the thread, then the connection; the definitions stay as they are."""
        self._closed = True
        self._stopping.set()
        self._transport.abort()
        if self._thread is not None:
            self._thread.join(timeout)
        self._transport.close()
        self.sticky.close()

    def after_fork(self) -> None:
        """In the child: the thread is not here, and the connections are the parent's."""
        self._start_afresh()
        self._transport.after_fork()
        self.sticky.after_fork()

    # the thread

    def _run(self) -> None:
        wait = 0.0
        while not self._clock.wait(self._stopping, wait):
            wait = self._look()

    def _look(self) -> float:
        """Ask once; seconds to wait before the next time."""
        try:
            self._ask()
        except ServerUnavailable as error:
            self.problem = str(error)
            return self._backoff.after(error)
        except Exception as error:  # of ours; what is known goes on
            self.problem = f"the definitions cannot be used: {type(error).__name__}"
            return self._pace.slow
        self._backoff.succeeded()
        self.answered.set()
        return self._pace.refresh * (1 + _JITTER * (self._random() - 0.5))

    def _ask(self) -> None:
        known = {"If-None-Match": self._etag} if self._etag else {}
        reply = self._transport.request("GET", PATH, {**self._headers, **known})
        if reply.status == 304 and known:
            self.problem = ""
        elif reply.status == 200 and len(reply.body) <= MOST_BYTES:
            self._take(reply.headers.get("etag", ""), reply.body)
            self._keep(reply.body)
        elif reply.status == 200:
            raise ServerUnavailable(f"the definitions have more than {MOST_BYTES:,} bytes", away=False)
        else:
            raise unavailable(self._transport.address, reply, self._clock.now())

    def _take(self, etag: str, body: bytes | msgspec.Raw) -> None:
        """Use a document from now on. Raises ServerUnavailable when it is none."""
        try:
            document = _decode_document(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise ServerUnavailable(
                f"{self._transport.address} answered, but not as a Barograph server does",
                hint="Is something else at this address, or in between?",
                away=False,
            ) from None
        table: dict[str, Assigner] = {}
        unread = ""
        for raw in document.experiments:
            try:
                definition = _decode_definition(raw)
                table[definition.key] = Assigner(definition)
            except (msgspec.MsgspecError, ValueError, RecursionError, InvalidExperiment) as error:
                unread = f"the definition of an experiment cannot be read: {error}"
        self.table, self._etag, self.problem = MappingProxyType(table), etag, unread

    # on disk

    def _recall(self) -> None:
        """What the last process knew, if anything."""
        if self._path is None:
            return
        with suppress(OSError, msgspec.MsgspecError, ValueError, RecursionError, ServerUnavailable):
            with self._path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
            if len(content) <= MOST_BYTES:
                kept = _decode_kept(content)
                self._take(kept.etag, kept.document)

    def _keep(self, body: bytes) -> None:
        """Write beside, then rename: a reader finds the old document or the new one, whole."""
        if self._path is None:
            return
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(msgspec.json.encode(_Kept(self._etag, msgspec.Raw(body))))
            os.replace(beside, self._path)
        except OSError as error:
            self.problem = f"the definitions cannot be kept in {self._path}: {error.strerror}"
            with suppress(OSError):
                beside.unlink()
