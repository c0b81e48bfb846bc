"""Whatever is handed in, the answer is an event or an InvalidEvent, and what is refused can be kept."""

from __future__ import annotations

import json
import math
from collections import UserDict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from collect_support import START, validator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barograph.collect.intake import Intake, Taken
from barograph.core.event import AHEAD_SECONDS, CALLER_KINDS, EARLIEST, KINDS, Document, Event
from barograph.journal.entry import rejection_body
from barograph_client.aliases import ALIASES
from barograph_client.errors import InvalidEvent
from barograph_client.limits import MAX_LINE
from barograph_client.plain import original


class Hostile:
    """Raises whatever one does to it."""

    def __repr__(self) -> str:
        raise RuntimeError("\x1b[31mno\ud800")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        return 1

    def __str__(self) -> str:
        raise KeyError("no")

    def __len__(self) -> int:
        raise OverflowError

    def __float__(self) -> float:
        raise ValueError

    def __bool__(self) -> bool:
        raise ZeroDivisionError


class HostileMapping(Mapping[str, object]):
    def __getitem__(self, key: str) -> object:
        raise LookupError(key)

    def __iter__(self) -> Iterator[str]:
        yield "query"
        raise OSError("the disk under this mapping is gone")

    def __len__(self) -> int:
        return -1


class HostileDict(dict[str, object]):
    def items(self) -> object:  # type: ignore[override]
        raise AttributeError("no items")

    def keys(self) -> object:  # type: ignore[override]
        raise AttributeError("no keys")


class HostileText(str):
    def __str__(self) -> str:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return -5


class HostileNumber(float):
    def __float__(self) -> float:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


NAMES = sorted(
    {name for struct in (*KINDS.values(), Document) for name in struct.__struct_fields__}
    | {alias.name for aliases in ALIASES.values() for alias in aliases}
    | {"kind", "metadata", "received_at", "", "a b", "\0", "\ud800"}
)
TEXTS = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["ok", "error", "query", "caller", "internal", "\ud800"]
)
STRANGE: tuple[object, ...] = (
    Hostile(), HostileMapping(), HostileDict(a=1), HostileText("x"), HostileNumber(1.5), object(), print, int,
    np.float32("nan"), np.int8(3), np.array([[1, 2], [3, 4]]), np.datetime64("NaT"), np.array(["a", None], object),
    np.timedelta64(3, "s"), np.str_("x"), np.void(b"x"), Fraction(1, 3), 1j, 10**5000, Decimal("sNaN"), math.nan,
    range(10**9), UserDict(a=UserDict(b=1)), datetime.min, datetime.max, timedelta(1), frozenset({1}), b"\xff",
    Document(score=math.inf), bytearray(b"a"), memoryview(b"b"), iter([1]), NotImplemented, ...,
)  # fmt: skip
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**500), 10**500),
    st.floats(),
    TEXTS,
    st.binary(max_size=10),
    st.datetimes(),
    st.datetimes(START.replace(tzinfo=None) - timedelta(days=10), START.replace(tzinfo=None)),
    st.decimals(),
    st.integers(0, len(STRANGE) - 1).map(lambda place: STRANGE[place]),  # some cannot be shown
)
KEYS = st.sampled_from(NAMES) | st.text(max_size=5) | st.integers() | st.none()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
EVENTS = (
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8) | st.dictionaries(KEYS, VALUES, max_size=6) | VALUES
)
KIND_NAMES = st.sampled_from(sorted(CALLER_KINDS)) | TEXTS | LEAVES
FUZZ = settings(max_examples=200, suppress_health_check=list(HealthCheck))


def check(taken: Taken) -> None:
    """The promises that hold for every input."""
    if taken.entry is None:
        assert isinstance(taken.error, InvalidEvent)
        str(taken.error).encode("utf-8")
        assert taken.rejection is not None
        kept = json.loads(rejection_body(taken.rejection) + b"}")
        assert kept["reason"]
        assert len(taken.rejection.original) <= 7 * MAX_LINE
        return
    body = taken.entry.body + b"}"
    assert len(body) <= MAX_LINE
    assert b"\n" not in body
    assert b"received_at" not in body.split(b'"tags"')[0]
    event = msgspec.json.decode(body, type=CALLER_KINDS[taken.entry.kind])
    assert event.event_id == taken.entry.event_id == taken.event_id
    assert event.origin == "caller"
    assert EARLIEST <= event.time <= START + timedelta(seconds=AHEAD_SECONDS)
    finite(msgspec.to_builtins(event))


def finite(value: object) -> None:
    if isinstance(value, float):
        assert math.isfinite(value)
    elif isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        for item in value.values():
            finite(item)
    elif isinstance(value, list):
        for item in value:
            finite(item)


@FUZZ
@given(KIND_NAMES, EVENTS)
def test_any_python_object_is_an_event_or_refused_with_a_reason(kind: str, raw: object):
    check(Intake(validator()).take(kind, raw))


@FUZZ
@given(st.sampled_from(sorted(CALLER_KINDS)), st.data())
def test_fields_of_a_kind_with_any_values_are_an_event_or_refused(kind: str, data: st.DataObject):
    names = CALLER_KINDS[kind].__struct_fields__
    raw = data.draw(st.dictionaries(st.sampled_from(names), LEAVES, max_size=4))
    check(Intake(validator()).take(kind, raw))


@FUZZ
@given(st.binary(max_size=200) | st.text(max_size=100) | VALUES.map(lambda value: original(value)))
def test_any_line_is_an_event_or_refused_with_a_reason(line: bytes | str):
    check(Intake(validator()).take_item(line, None))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES[1:-1]), inner, max_size=4),
    max_leaves=10,
)


@FUZZ
@given(st.dictionaries(st.sampled_from(sorted(set(NAMES) - {"kind", "\ud800", ""})), JSON, max_size=6))
def test_a_mapping_and_its_line_come_to_the_same(raw: dict[str, object]):
    ones = [Intake(validator()).take_item(item, "query") for item in (raw, json.dumps(raw).encode())]
    assert ones[0].entry == ones[1].entry
    told = [one.error and (one.error.field, one.error.reason) for one in ones]
    assert told[0] == told[1]


@FUZZ
@given(st.dictionaries(st.sampled_from(sorted(set(NAMES) - {"kind", "\ud800", ""})), JSON, max_size=6))
def test_what_was_accepted_is_accepted_again_unchanged(raw: dict[str, object]):
    """An exported event can be imported: making an event of an event changes nothing."""
    intake = Intake(validator())
    first = intake.take_item(raw, "query").entry
    if first is not None:
        again = intake.take_item(first.body + b"}", None)
        assert again.entry == first


@pytest.mark.parametrize(
    "thing", [Hostile(), {"a": Hostile()}, [Hostile()], {Hostile(): 1}, HostileDict(b=1)], ids=type
)
def test_the_original_of_a_hostile_object_is_kept_as_far_as_it_can_be(thing: object):
    assert 0 < len(original(thing)) < 5000


def test_the_original_says_what_json_cannot():
    assert original({"cost": math.nan, "t": ("a", 1), "bad": "\ud800"}) == '{"cost":NaN,"t":["a",1],"bad":"\\ud800"}'
    assert original(b"\xff raw") == b"\xff raw"
    assert original("a line") == "a line"


def test_the_original_is_bounded():
    wide: list[object] = [1] * 1000
    for _ in range(5):
        wide = [wide] * 1000
    assert len(original(wide)) < 2 * MAX_LINE
    assert len(original({"query": "é" * 3 * MAX_LINE})) <= 7 * MAX_LINE


def test_events_of_one_input_are_equal_however_the_mapping_is_made():
    def once(raw: object) -> Event:
        return validator().event("query", raw)

    assert (
        once({"cost": 1, "query": "a"})
        == once(UserDict(query="a", cost=Decimal(1)))
        == once({"question": "a", "cost": np.float64(1)})
    )
