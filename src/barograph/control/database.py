"""The control plane's database: opening it, bringing its schema up to date, and its transactions.

``ControlPlane`` reads from a SQLite file (``control.db`` of the data directory) or a database address, and is
handed to the repositories of this folder, which are its only users. Writers take the lock when their transaction
begins, so what a transaction has read is still true when it writes.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, create_engine, event, func, insert, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from barograph.control import tables
from barograph_client.clock import Clock
from barograph_client.errors import ControlError

CONTROL = "control.db"  # its file in a data directory
BUSY_SECONDS = 10.0  # how long a transaction waits for another one's lock
CLOSE_SECONDS = 30.0  # how long closing waits for transactions under way
_WRITES = "barograph_writes"  # the execution option that asks for the write lock at once


class ControlPlane:
    """Small, transactional, safe to share between threads. A context manager.

    ``url_or_path`` is a file (made when it is not there) or an SQLAlchemy address. Raises ControlError when the
    database cannot be opened, or was written by a newer version.
    """

    def __init__(self, url_or_path: str | Path, clock: Clock) -> None:
        self.clock = clock
        self._state = threading.Condition()
        self._running = 0
        self._closed = False
        url = _address(url_or_path)
        self.address = url.render_as_string(hide_password=True)
        try:
            self._engine = create_engine(url)
        except ModuleNotFoundError as error:
            raise ControlError(
                f"{url.get_backend_name()} needs a driver: {error}",
                hint="Install psycopg and write postgresql+psycopg://host/name.",
            ) from None
        if url.get_backend_name() == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        try:
            self._migrate()
        except BaseException:
            self._engine.dispose()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads: all its statements see one state."""
        with self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: all of it is kept, or, when the block raises, nothing."""
        with self._transaction(writes=True) as connection:
            yield connection

    @contextmanager
    def _transaction(self, writes: bool) -> Iterator[Connection]:
        with self._state:
            if self._closed:
                raise ControlError("the control plane is closed", hint="Open the data directory again.")
            self._running += 1
        try:
            with self._engine.connect().execution_options(**{_WRITES: writes}) as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise self._told(error) from error
        finally:
            with self._state:
                self._running -= 1
                self._state.notify_all()

    def _told(self, error: SQLAlchemyError) -> ControlError:
        cause = getattr(error, "orig", None) or error
        return ControlError(
            f"the control plane did not answer: {type(cause).__name__}: {cause}".partition("\n")[0],
            hint="Check that the file is writable, the disk has room and no other program holds its lock.",
            value=self.address,
        )

    def _migrate(self) -> None:
        with self.writing() as connection:
            tables.schema_version.create(connection, checkfirst=True)
            found = connection.execute(select(func.max(tables.schema_version.c.version))).scalar() or 0
            newest = tables.MIGRATIONS[-1].version
            if found > newest:
                raise ControlError(
                    f"the control plane has schema {found}, this version knows {newest}",
                    hint="Install the version that wrote it, or a newer one.",
                    value=self.address,
                )
            for migration in tables.MIGRATIONS:
                if migration.version > found:
                    self._apply(connection, migration)

    def _apply(self, connection: Connection, migration: tables.Migration) -> None:
        identity = tables.IDENTITY[connection.dialect.name]
        for statement in migration.statements:
            connection.execute(text(statement.format(identity=identity)))
        if migration.change is not None:
            migration.change(connection)
        connection.execute(
            insert(tables.schema_version).values(
                version=migration.version, name=migration.name, applied_at=self.clock.now()
            )
        )

    def schema(self) -> int:
        """The version of the schema that the database has."""
        with self.reading() as connection:
            return int(connection.execute(select(func.max(tables.schema_version.c.version))).scalar_one())

    def table_names(self) -> list[str]:
        """The tables that are there, sorted."""
        with self.reading() as connection:
            return sorted(inspect(connection).get_table_names())

    def close(self) -> None:
        """Wait for the transactions under way and close every connection. May be called again."""
        with self._state:
            self._closed = True
            self._state.wait_for(lambda: self._running == 0, timeout=CLOSE_SECONDS)
        self._engine.dispose()

    def __enter__(self) -> ControlPlane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _address(url_or_path: str | Path) -> URL:
    if isinstance(url_or_path, str) and "://" in url_or_path:
        try:
            url = make_url(url_or_path)
        except ArgumentError:
            raise ControlError("not a database address", hint="Write a path, or postgresql://host/name.") from None
        if url.get_backend_name() not in tables.IDENTITY:
            raise ControlError(
                "the control plane runs on SQLite or PostgreSQL only", value=url.render_as_string(hide_password=True)
            )
        return url
    path = Path(url_or_path)
    try:
        path.touch(mode=0o600)  # people's decisions, and later hashes of keys: for the owner alone
    except OSError as error:
        raise ControlError(
            f"the control plane cannot be opened: {error.strerror}",
            hint="Check the directory and its permissions.",
            value=str(path),
        ) from None
    return URL.create("sqlite", database=str(path))


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # BEGIN is said by _begin_sqlite; the driver would say it too late
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # a decision that was acknowledged survives a power cut
        cursor.execute("PRAGMA foreign_keys = ON")
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
