"""``timed``: a decorator that records each call of a RAG function as one query event.

Built on ``TimedQuery``, which it offers again beside ``stage`` and ``current_query``, so that callers find all of
the timing here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import ParamSpec, TypeVar, cast

from barograph_client.aliases import ALIASES, passages
from barograph_client.clock import Clock
from barograph_client.timed_query import FIELD_OF, Record, Stage, TimedQuery, current_query, stage

__all__ = ["RESULT_FIELDS", "Record", "Stage", "TimedQuery", "current_query", "stage", "timed"]

P = ParamSpec("P")
R = TypeVar("R")

ANSWER_LENGTH = 262_144  # characters of a streamed answer that are kept: the most that the event's field takes

# What a decorated function may hand back about its query in a dictionary, by the type it must have: another type
# is the function's own business, not a field of ours. The event's id, its times and its project stay ours.
RESULT_FIELDS: dict[str, type | tuple[type, ...]] = {
    "trace_id": str,
    "session_id": str,
    "user_id": str,
    "answer": str,
    "pipeline": str,
    "environment": str,
    "model": str,
    "provider": str,
    "status": str,
    "error_type": str,
    "error_message": str,
    "input_tokens": int,
    "output_tokens": int,
    "cached_tokens": int,
    "cost": (int, float),
    "accuracy_score": (int, float),
    "documents": list,
    "document_count": int,
    "variants": dict,
}
_STATUSES = ("ok", "no_answer", "error")
_RESULT_NAMES = (
    *RESULT_FIELDS,
    *(a.name for a in ALIASES["query"] if a.field in RESULT_FIELDS and a.convert in (None, passages)),
)
_TEXT_LISTS = frozenset(alias.name for alias in ALIASES["query"] if alias.convert is passages)

Begin = Callable[[tuple[object, ...], Mapping[str, object]], TimedQuery]


def timed(record: Record, clock: Clock, **fields: object) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a function that answers one query: plain, async, generator or async generator.

    The first argument that is a text becomes ``query`` when it is not among ``fields``. A text that is returned
    becomes the answer, as do the texts that a generator yields (the first marks the first token); of a dictionary
    that is returned or yielded, the fields in ``RESULT_FIELDS`` are taken, also under their other names. What the
    function sets itself, through ``current_query()``, wins. A generator is timed from its first step to its last.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        names = _parameter_names(function)
        given = any(FIELD_OF.get(name, name) == "query" for name in fields)

        def begin(arguments: tuple[object, ...], named: Mapping[str, object]) -> TimedQuery:
            text = None if given else _first_text(arguments, named, names)
            return TimedQuery(record, clock, fields if text is None else {**fields, "query": text})

        wrapper: object
        if inspect.isasyncgenfunction(function):
            wrapper = _time_async_generator(function, begin)
        elif inspect.isgeneratorfunction(function):
            wrapper = _time_generator(function, begin)
        elif inspect.iscoroutinefunction(function):
            wrapper = _time_coroutine(function, begin)
        else:
            wrapper = _time_plain(function, begin)
        return cast("Callable[P, R]", functools.update_wrapper(cast("Callable[P, R]", wrapper), function))

    return decorate


def _time_plain(function: Callable[..., object], begin: Begin) -> object:
    def wrapper(*args: object, **kwargs: object) -> object:
        with begin(args, kwargs) as query:
            result = function(*args, **kwargs)
            _take(query, result)
        return result

    return wrapper


def _time_coroutine(function: Callable[..., Awaitable[object]], begin: Begin) -> object:
    async def wrapper(*args: object, **kwargs: object) -> object:
        with begin(args, kwargs) as query:
            result = await function(*args, **kwargs)
            _take(query, result)
        return result

    return wrapper


def _time_generator(function: Callable[..., Generator[object, object, object]], begin: Begin) -> object:
    """The query is the current one only while the generator itself runs, not while its reader does."""

    def wrapper(*args: object, **kwargs: object) -> Generator[object, object, object]:
        query, stream = begin(args, kwargs), _Stream()
        query.start()
        try:
            generator = function(*args, **kwargs)
            step: Callable[[], object] = functools.partial(next, generator)
            while True:
                with query.active():
                    try:
                        item = step()
                    except StopIteration as end:
                        result: object = end.value
                        break
                stream.take(query, item)
                try:
                    step = functools.partial(generator.send, (yield item))
                except GeneratorExit:
                    with query.active():
                        generator.close()
                    raise
                except BaseException as error:
                    step = functools.partial(generator.throw, error)
            stream.finish(query)
            _take(query, result)
        except BaseException as error:
            stream.finish(query)
            query.finish(error)
            raise
        query.finish()
        return result

    return wrapper


def _time_async_generator(function: Callable[..., AsyncGenerator[object, object]], begin: Begin) -> object:
    async def wrapper(*args: object, **kwargs: object) -> AsyncGenerator[object, object]:
        query, stream = begin(args, kwargs), _Stream()
        query.start()
        try:
            generator = function(*args, **kwargs)
            step: Callable[[], Awaitable[object]] = functools.partial(anext, generator)
            while True:
                with query.active():
                    try:
                        item = await step()
                    except StopAsyncIteration:
                        break
                stream.take(query, item)
                try:
                    step = functools.partial(generator.asend, (yield item))
                except GeneratorExit:
                    with query.active():
                        await generator.aclose()
                    raise
                except BaseException as error:
                    step = functools.partial(generator.athrow, error)
        except BaseException as error:
            stream.finish(query)
            query.finish(error)
            raise
        stream.finish(query)
        query.finish()

    return wrapper


class _Stream:
    """The texts that a generator yields, up to the length that an answer may have."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._room = ANSWER_LENGTH

    def take(self, query: TimedQuery, item: object) -> None:
        if isinstance(item, str):
            query.first_token()
            if self._room > 0:
                self._parts.append(item[: self._room])
                self._room -= len(self._parts[-1])
        else:
            _take(query, item)

    def finish(self, query: TimedQuery) -> None:
        if self._parts and query.answer is None:
            query.answer = "".join(self._parts)


def _take(query: TimedQuery, result: object) -> None:
    """What a result says of its query, where the function has not said it already."""
    if isinstance(result, str):
        found: dict[str, object] = {"answer": result}
    elif isinstance(result, dict):
        found = {name: result[name] for name in _RESULT_NAMES if name in result and _usable(name, result[name])}
    else:
        return
    query.set(**{name: value for name, value in found.items() if query.get(FIELD_OF.get(name, name)) is None})


def _usable(name: str, value: object) -> bool:
    field = FIELD_OF.get(name, name)
    if not isinstance(value, RESULT_FIELDS[field]) or isinstance(value, bool):
        return False
    if isinstance(value, list):
        kinds = (dict, str) if name in _TEXT_LISTS else (dict,)
        return all(isinstance(item, kinds) for item in value)
    return field != "status" or value in _STATUSES


def _parameter_names(function: Callable[..., object]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some callables written in C have none
        return ()


def _first_text(arguments: tuple[object, ...], named: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    """The first text in the order in which the function declares its parameters."""
    for value in arguments:
        if isinstance(value, str):
            return value
    for name in (*names, *named):
        value = named.get(name)
        if isinstance(value, str):
            return value
    return None
