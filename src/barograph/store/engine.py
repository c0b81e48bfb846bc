"""The engine: ClickHouse, embedded in this process or behind HTTP, through one client library and one dialect.

``loader`` inserts byte ranges of the journal through it, everything that answers questions selects through it.
What the engine says is translated into our own errors here and nowhere else. Values go in as server-side
parameters only.
"""

from __future__ import annotations

import contextlib
import fcntl
import queue
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import clickhouse_connect
import msgspec
from clickhouse_connect import common
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from barograph.core.durations import Durations
from barograph.core.settings import EngineSettings
from barograph.store.turns import Turns
from barograph_client.errors import (
    EngineError,
    EngineRefused,
    EngineUnavailable,
    InvalidQuery,
    InvalidSettings,
    QueryTooExpensive,
    shorten,
)

Value = str | int | float | bool | Sequence[str] | Sequence[int]
Rows = list[dict[str, Any]]

READERS = 4  # questions answered at the same time
CONNECT_SECONDS = 5
DEFAULT_PORT = 8123

# Every setting on which "one range = one block = counted once" depends, whatever a server's defaults are.
INSERT_SETTINGS: dict[str, str] = {
    "async_insert": "0",
    "insert_deduplicate": "1",
    "deduplicate_blocks_in_dependent_materialized_views": "1",
    "input_format_parallel_parsing": "0",
    "max_insert_block_size": "1000000",
    "min_insert_block_size_rows": "1000000",
    "min_insert_block_size_bytes": "0",
    "max_partitions_per_insert_block": "0",
    "date_time_input_format": "best_effort",
    "input_format_skip_unknown_fields": "1",
    "input_format_null_as_default": "1",
    "materialized_views_ignore_errors": "0",
    "optimize_on_insert": "0",  # a view's block has each key once already; sorting it again costs half of the load
    "parallel_view_processing": "0",
}
WRITE_SETTINGS: dict[str, str] = {"mutations_sync": "2"}  # of the connection: per statement they cost as much again
READ_SETTINGS: dict[str, str] = {
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_denormals": "0",
    "join_use_nulls": "0",
    "result_overflow_mode": "throw",
}
# What the embedded engine's version knows; a server of another version would refuse a name that it has not.
EMBEDDED_READ_SETTINGS: dict[str, str] = {
    "enable_join_runtime_filters": "0",  # nearly all rows meet their unit: filtering first costs more than it saves
}

_TOO_EXPENSIVE = {158, 159, 160, 241, 307, 396}  # rows, time, speed, memory, bytes, result rows
_NOT_NOW = {76, 74, 75, 164, 173, 202, 209, 210, 236, 242, 243, 252, 439, 999}  # disk, network, load: try again later
# The embedded engine's own defaults take the machine for its own: 5 GB of mark cache, 90 % of the memory.
SERVER_MEMORY = 4 * 2**30  # at least: with too little it cannot even load its tables
CHDB_OPTIONS: dict[str, str] = {
    "mark_cache_size": str(64 * 2**20),
    "index_mark_cache_size": str(16 * 2**20),
    "primary_index_cache_size": str(64 * 2**20),
    "mmap_cache_size": "64",
    "compiled_expression_cache_size": str(8 * 2**20),
}

_BAD_PATTERN = 427
_CODE = re.compile(r"Code: (\d+)\.")
_INITIALIZING = "Error initializing EmbeddedServer"  # what it says when opening fails; the reason follows

common.set_setting("autogenerate_session_id", False)  # sessions would tie a client to one thread


class Engine:
    """One database of one engine. Safe to share between threads; ``open`` before use, ``close`` after."""

    def __init__(self, settings: EngineSettings, directory: Path, *, database: str | None = None) -> None:
        self.settings = settings
        self.database = database or settings.database
        self.embedded = settings.address.startswith("chdb:")
        self._address, self._port = _address(settings.address)
        self.in_data_directory = self.embedded and not self._address.path
        self._directory = directory
        self._writer: Client | None = None
        self._writing = threading.Lock()
        self._readers: queue.LifoQueue[Client] = queue.LifoQueue()
        self._places = threading.Semaphore(READERS)
        self._turns = Turns()
        self._closed = False
        self.query_times = Durations()

    # opening and closing

    def open(self) -> None:
        """Connect and make the database if it is not there. Raises EngineUnavailable or InvalidSettings."""
        if self._writer is not None:
            return
        with self._translated("opening the engine"), self._outside() as client:
            client.command(f"CREATE DATABASE IF NOT EXISTS `{self.database}`")
            self._writer = self._connect(self.database, WRITE_SETTINGS)

    def is_held(self) -> bool:
        """Whether some process has the embedded engine's files open; why opening failed is not told otherwise."""
        try:
            with open(self._directory / "status", "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def recreate(self) -> None:
        """Drop the database with all that is in it and make an empty one. Raises EngineError."""
        with self._translated("dropping the database"), self._writing, self._outside() as client:
            client.command(f"DROP DATABASE IF EXISTS `{self.database}` SYNC")
            client.command(f"CREATE DATABASE `{self.database}`")

    @contextlib.contextmanager
    def _outside(self) -> Iterator[Client]:
        """A connection for what one inside the database could not do: a server refuses one whose database is gone.

        The embedded engine ends with its last connection, so another is opened before this one is let go.
        """
        client = self._connect(None, {})
        try:
            yield client
        finally:
            client.close()

    def _connect(self, database: str | None, limits: Mapping[str, str]) -> Client:
        address = self._address
        settings = dict(limits)
        if address.scheme == "chdb":
            path = Path(unquote(address.path)) if address.path else self._directory
            path.mkdir(parents=True, exist_ok=True)
            return clickhouse_connect.get_client(
                interface="chdb",
                path=str(path),
                database=database,
                settings=settings,
                chdb_options={
                    **CHDB_OPTIONS,
                    "max_server_memory_usage": str(max(SERVER_MEMORY, 2 * self.settings.query_memory)),
                },
            )
        return clickhouse_connect.get_client(
            host=address.hostname or "127.0.0.1",
            port=self._port,
            username=unquote(address.username or "default"),
            password=unquote(address.password or ""),
            interface="https" if address.scheme == "clickhouses" else "http",
            database=database,
            settings=settings,
            connect_timeout=CONNECT_SECONDS,
            send_receive_timeout=self.settings.query_seconds + 60,
        )

    def close(self) -> None:
        """Close every connection. The embedded engine itself ends when its last connection does."""
        self._closed = True
        for _ in range(READERS):  # wait for the questions that are being answered
            self._places.acquire()
        with self._writing:
            while not self._readers.empty():
                self._readers.get_nowait().close()
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        for _ in range(READERS):
            self._places.release()

    # statements

    def command(self, sql: str, parameters: Mapping[str, Value] | None = None) -> None:
        """Run a statement that returns nothing. Raises EngineError."""
        with self._translated("a statement"), self._writing:
            self._writing_client().command(sql, parameters=dict(parameters or {}))

    def insert(self, table: str, lines: bytes, token: str) -> None:
        """Insert JSON lines as one block under a deduplication token; the same token again counts once.

        Raises EngineRefused for data that cannot be read (nothing of it is kept), EngineUnavailable otherwise.
        """
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}
        with self._translated(f"loading {table}"), self.changing(), self._writing:
            self._writing_client().raw_insert(table, insert_block=lines, fmt="JSONEachRow", settings=settings)

    def insert_native(self, table: str, block: bytes, token: str) -> None:
        """Insert a block in Native format, without running any view's source again for other tables."""
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}
        with self._translated(f"loading {table}"), self.changing(), self._writing:
            self._writing_client().raw_insert(table, insert_block=block, fmt="Native", settings=settings)

    def select(self, sql: str, parameters: Mapping[str, Value] | None = None) -> Rows:
        """Rows as dictionaries. Raises QueryTooExpensive or another EngineError, InvalidQuery for a bad parameter."""
        data = self.select_bytes(sql, "JSONEachRow", parameters)
        return msgspec.json.decode(b"[" + data.rstrip(b"\n").replace(b"\n", b",") + b"]") if data.strip() else []

    def select_bytes(self, sql: str, form: str, parameters: Mapping[str, Value] | None = None) -> bytes:
        """The answer in one of ClickHouse's formats, as bytes."""
        sent = dict(parameters or {})
        _check_parameters(sent)
        began = time.monotonic()
        try:
            with self._translated("a question"), self._reader() as client:
                return client.raw_query(sql, parameters=sent, fmt=form)
        finally:
            self.query_times.add(time.monotonic() - began)

    def steady(self) -> contextlib.AbstractContextManager[None]:
        """While it is held nothing is loaded, so that questions over several tables fit together."""
        return self._turns.reading()

    def changing(self) -> contextlib.AbstractContextManager[None]:
        """While it is held nobody is within ``steady``: for statements that only together leave the tables right."""
        return self._turns.changing()

    def ping(self) -> bool:
        """Whether the engine answers."""
        try:
            self.open()
            return self.select("SELECT 1 AS one") == [{"one": 1}]
        except EngineError:
            return False

    # inside

    def _writing_client(self) -> Client:
        if self._writer is None:
            raise EngineUnavailable("the engine is closed", hint="Open it again before asking.")
        return self._writer

    @contextlib.contextmanager
    def _reader(self) -> Iterator[Client]:
        if self._closed or self._writer is None:
            raise EngineUnavailable("the engine is not open", hint="What is journaled is loaded when it is.")
        with self._places:
            if self._closed:  # while this question waited for its place
                raise EngineUnavailable("the engine was closed", hint="Open the store again and ask again.")
            try:
                client = self._readers.get_nowait()
            except queue.Empty:
                client = self._connect(self.database, self._reading())
            try:
                yield client
            except BaseException:  # nobody knows what it left in the connection: the next question gets a new one
                with contextlib.suppress(Exception):
                    client.close()
                raise
            self._readers.put(client)

    def _reading(self) -> dict[str, str]:
        return {
            **READ_SETTINGS,
            **(EMBEDDED_READ_SETTINGS if self.embedded else {}),
            "max_execution_time": str(self.settings.query_seconds),
            "max_memory_usage": str(self.settings.query_memory),
            "max_result_rows": str(self.settings.query_rows),
        }

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except ClickHouseError as error:
            raise translate(error, doing) from error
        except (OSError, RuntimeError) as error:
            raise translate(error, doing) from error


def _address(text: str) -> tuple[SplitResult, int]:
    """An engine's address and its port. Raises InvalidSettings."""
    try:
        address = urlsplit(text)
        port = address.port or DEFAULT_PORT
    except ValueError as error:  # a port or an IPv6 address that is none
        raise InvalidSettings(
            f"engine.address is not an address: {error}",
            hint="Example: clickhouse://user:password@host:8123.",
        ) from None
    if address.scheme not in ("chdb", "clickhouse", "clickhouses"):
        raise InvalidSettings(
            "engine.address must begin with chdb: or clickhouse:",
            hint="Examples: chdb:// or clickhouse://user:password@host:8123 (clickhouses:// for TLS).",
            value=address.scheme,
        )
    return address, port


def translate(error: Exception, doing: str) -> EngineError | InvalidQuery:
    """Our own error for what the engine or its client raised."""
    text = str(error)
    codes = list(_CODE.finditer(text))
    found = codes[-1] if codes and _INITIALIZING in text else codes[0] if codes else None
    said = shorten(text[found.start() :] if found else text, 400)
    code = int(found[1]) if found else 0
    if code == _BAD_PATTERN:
        return InvalidQuery("not a regular expression as RE2 has them", hint="See RE2's syntax.", value=said)
    if code in _TOO_EXPENSIVE:
        return QueryTooExpensive(
            f"{doing} cost too much: {said}", hint="Ask for a shorter window, or raise engine.query_seconds or _memory."
        )
    if not code or code in _NOT_NOW or not isinstance(error, (DatabaseError, RuntimeError)):
        return EngineUnavailable(
            f"the engine did not answer while {doing}: {said}",
            hint="What is journaled is safe and is loaded when the engine is back.",
        )
    return EngineRefused(f"the engine refused {doing}: {said}", code=code)


def _check_parameters(parameters: Mapping[str, Value]) -> None:
    """Refuse what a server-side parameter cannot carry, before the driver fails on it with something obscure."""
    for name, value in parameters.items():
        for text in [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else []:
            if isinstance(text, str) and ("\0" in text or not _encodable(text)):
                raise InvalidQuery(f"{name} holds a character that cannot be asked for", value=text)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
