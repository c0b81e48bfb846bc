"""``TimedQuery``: one query event from a ``with`` block, with its stages.

It measures the whole and its stages on the clock that is passed in and hands one dictionary to ``record`` (a
collector's ``record_query_execution``) when the block ends. ``stage`` finds the query that is being timed through
a context variable, so functions far below, asyncio tasks and threads that run in a copied context need not be
handed anything. ``timing`` decorates whole functions with it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from types import TracebackType
from typing import Generic, Self, TypeVar, cast, overload

from barograph_client.aliases import ALIASES
from barograph_client.clock import Clock
from barograph_client.errors import InvalidInput
from barograph_client.identifiers import uuid7

Record = Callable[[Mapping[str, object]], object]
T = TypeVar("T")

DECIMALS = 6  # microseconds: what a clock read in Python can tell apart
MESSAGE_LENGTH = 4096  # characters of an error's message that are kept
TYPE_LENGTH = 256  # and of its type: the most that the event's field takes
_FAILURES = 16  # failed stages remembered, to tell which of them an exception came out of
_CHAIN = 100  # exceptions looked at on the way from an error to its causes
_RANDOM_BYTES = 10  # what a UUIDv7 takes

FIELD_OF = {alias.name: alias.field for alias in ALIASES["query"]}  # the field that another name stands for

_current: ContextVar[TimedQuery | None] = ContextVar("barograph_query", default=None)


class _Field(Generic[T]):
    """An attribute of a ``TimedQuery`` that is a field of its event; None until it is set."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, query: None, owner: type) -> Self: ...
    @overload
    def __get__(self, query: TimedQuery, owner: type) -> T | None: ...
    def __get__(self, query: TimedQuery | None, owner: type) -> Self | T | None:
        return self if query is None else cast("T | None", query.get(self._name))

    def __set__(self, query: TimedQuery, value: T | None) -> None:
        query.set(**{self._name: value})


class Stage:
    """One running of a stage; a context manager, plain or async. Without a query it does nothing."""

    __slots__ = ("_name", "_query")

    def __init__(self, query: TimedQuery | None, name: str) -> None:
        self._query = query
        self._name = name

    def __enter__(self) -> Self:
        if self._query is not None:
            self._query._begin(self._name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._query is not None:
            self._query._end(self._name, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def stage(name: str) -> Stage:
    """Times a stage of the query that is being timed in this context; outside of one it does nothing.

    ``embedding``, ``retrieval``, ``rerank`` and ``generation`` fill the event's fields of those names; another
    name is kept as the tag ``<name>_time``.
    """
    return Stage(_current.get(), name)


def current_query() -> TimedQuery | None:
    """The query that is being timed in this context."""
    return _current.get()


class TimedQuery:
    """Times one query and records it as one event when the block ends.

    ``fields`` are fields of the event known beforehand; what is set by hand wins over what is measured, and what is
    set later over what was set before, also under another name of the same field (``aliases``). Stages of one name
    that overlap or repeat count the time in which at least one of them ran. An exception is recorded with status
    ``error``, its type, message and the innermost stage it came out of, and goes on to the caller. If it cannot be
    recorded either, that becomes a note on it; without an exception of the program's own, what ``record`` raises
    is raised. An attribute that is no field raises AttributeError, so that nothing is lost in silence; ``set`` takes
    all fields of the event.
    """

    __slots__ = (
        "__weakref__", "_clock", "_failures", "_fields", "_lock", "_names", "_random_bytes", "_record", "_running",
        "_spent", "_started", "_state", "_token",
    )  # fmt: skip

    answer = _Field[str]()
    documents = _Field["list[Mapping[str, object]]"]()
    model = _Field[str]()
    status = _Field[str]()
    cost = _Field[float]()
    accuracy_score = _Field[float]()
    user_id = _Field[str]()
    session_id = _Field[str]()

    def __init__(
        self,
        record: Record,
        clock: Clock,
        fields: Mapping[str, object],
        *,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._record = record
        self._clock = clock
        self._fields: dict[str, object] = {}
        self._names: dict[str, str] = {}  # field -> the name, ours or an alias, under which it was given
        self._put(fields)
        self._lock = Lock()
        self._state = "new"
        self._started = 0.0
        self._running: dict[str, tuple[int, float]] = {}  # stage -> how many run now, since when at least one does
        self._spent: dict[str, float] = {}
        self._failures: deque[tuple[BaseException, str]] = deque(maxlen=_FAILURES)
        self._random_bytes = random_bytes

    @property
    def trace_id(self) -> str:
        """The trace's id, for feedback and scores to name; made when it is first asked for and was not given."""
        with self._lock:
            return self._trace()

    def get(self, name: str) -> object:
        """A field as it was set so far, also under another name, or None."""
        return self._fields.get(self._names.get(name, name))

    def set(self, **fields: object) -> None:
        """Set fields of the event. After the end of the block it is too late, and nothing happens."""
        with self._lock:
            self._put(fields)

    def tokens(self, *, input: int | None = None, output: int | None = None, cached: int | None = None) -> None:
        """Add to the query's token counts: a query that calls a model twice calls this twice."""
        with self._lock:
            for name, count in (("input_tokens", input), ("output_tokens", output), ("cached_tokens", cached)):
                if count is not None:
                    before = self.get(name)
                    self._put({name: count + before if isinstance(before, int) else count})

    def first_token(self) -> None:
        """The first token of the answer is here; later calls change nothing."""
        with self._lock:
            if self._state == "running" and self.get("time_to_first_token") is None:
                self._put({"time_to_first_token": self._since(self._started)})

    def stage(self, name: str) -> Stage:
        """Times a stage of this query, as the function ``stage`` does for the current one."""
        return Stage(self, name)

    @contextmanager
    def active(self) -> Iterator[Self]:
        """Makes this the query that ``stage`` finds, for as long as the block runs."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    def start(self) -> None:
        """Start the measurement; the ``with`` block does it."""
        if self._state != "new":
            raise InvalidInput("a TimedQuery times one query, once", hint="Make a new one for each query.")
        if self.get("time") is None:
            self.set(time=self._clock.now())
        self._state = "running"
        self._started = self._clock.monotonic()

    def finish(self, error: BaseException | None = None) -> None:
        """End the measurement and record the event; the ``with`` block does it. A second call does nothing."""
        with self._lock:
            if self._state != "running":
                return
            self._state = "done"
            event = self._event(error)
            self._failures.clear()  # they hold the frames that they came out of
        try:
            self._record(event)
        except Exception as failure:
            if error is None:
                raise
            error.add_note(f"Barograph could not record this query: {_text_of(failure)}")

    def __enter__(self) -> Self:
        self.start()
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            _current.reset(self._token)
        except ValueError:  # left in another context than it was entered in, as a test fixture may be
            if _current.get() is self:
                _current.set(None)
        self.finish(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _begin(self, name: str) -> None:
        with self._lock:
            now = self._clock.monotonic()
            count, since = self._running.get(name, (0, now))
            self._running[name] = (count + 1, since)

    def _end(self, name: str, error: BaseException | None) -> None:
        with self._lock:
            if self._state == "done":
                return
            count, since = self._running.pop(name)
            if count > 1:
                self._running[name] = (count - 1, since)
            else:
                self._spent[name] = self._spent.get(name, 0.0) + self._clock.monotonic() - since
            if error is not None and not any(error is known for known, _ in self._failures):
                self._failures.append((error, name))  # the innermost comes first and stays

    def _put(self, fields: Mapping[str, object]) -> None:
        for name, value in fields.items():
            field = FIELD_OF.get(name, name)
            before = self._names.get(field, name)
            if before != name:
                del self._fields[before]
            self._names[field] = name
            self._fields[name] = value

    def _trace(self) -> str:
        if not self.get("trace_id"):
            milliseconds = int(self._clock.now().timestamp() * 1000)
            self._put({"trace_id": uuid7(milliseconds, self._random_bytes(_RANDOM_BYTES))})
        return str(self.get("trace_id"))

    def _event(self, error: BaseException | None) -> dict[str, object]:
        now = self._clock.monotonic()
        for name, (_, since) in self._running.items():  # still open, in a thread or a task that outlives the query
            self._spent[name] = self._spent.get(name, 0.0) + now - since
        self._trace()
        found: dict[str, object] = {"response_time": self._since(self._started)}
        found.update((f"{name}_time", round(max(0.0, spent), DECIMALS)) for name, spent in self._spent.items())
        if isinstance(error, GeneratorExit):
            found["closed_early"] = "true"  # whoever read the stream stopped reading: not an error of the system
        elif error is not None:
            self._put({"status": "error"})
            found["error_type"] = _printable(type(error).__name__)[:TYPE_LENGTH]
            found["error_message"] = _text_of(error)
            found["error_stage"] = self._stage_of(error)
        self._put({name: value for name, value in found.items() if self.get(name) is None and value != ""})
        return {name: value for name, value in self._fields.items() if value is not None}

    def _since(self, moment: float) -> float:
        return round(max(0.0, self._clock.monotonic() - moment), DECIMALS)

    def _stage_of(self, error: BaseException) -> str:
        """The stage that the error, or one that it was raised from, came out of."""
        stages = {id(failed): name for failed, name in self._failures}
        for cause in _causes(error):
            if id(cause) in stages:
                return stages[id(cause)]
        return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, the members of its group, and what it was raised from or during, nearest first."""
    queue = deque([error])
    seen: set[int] = set()
    while queue and len(seen) < _CHAIN:
        one = queue.popleft()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            queue.extend(one.exceptions)
        queue.extend(other for other in (one.__cause__, one.__context__) if other is not None)


def _text_of(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as failure:  # a hostile __str__ must not hide the error that is being told
        text = f"<{type(error).__name__} whose text raised {type(failure).__name__}>"
    return _printable(text[:MESSAGE_LENGTH])


def _printable(text: str) -> str:
    """With lone surrogates spelt out: JSON cannot hold them, and the event would be refused for them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:MESSAGE_LENGTH]
