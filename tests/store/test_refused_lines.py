"""Lines that are no events: set aside with offset and reason, counted, and never in the way of the others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from tests.store.conftest import START, OpenSite, opener
from tests.support.store_site import Site, entry, queries

from barograph.core.event import Query
from barograph.core.query import EventQuery, MetricQuery, Window
from barograph.journal.entry import Entry
from barograph.store import loader
from barograph.store.readable import lines, unreadable, without

WINDOW = Window(START - timedelta(days=1), START)
BAD: dict[str, bytes] = {
    "corrupt": b'{"kind":"query","event_id":"b",,oops',
    "cut": b'{"kind":"query","event_id":"b","time":"2026-10-29T08:00:00Z","query":"abc',
    "word for a number": b'{"kind":"query","event_id":"b","time":"2026-10-29T08:00:00Z","cost":"abc"',
    "lone surrogate": b'{"kind":"query","event_id":"b","time":"2026-10-29T08:00:00Z","query":"\\ud800"',
    "beyond its column": b'{"kind":"query","event_id":"b","time":"2026-10-29T08:00:00Z","input_tokens":5000000000',
    "negative": b'{"kind":"query","event_id":"b","time":"2026-10-29T08:00:00Z","output_tokens":-1',
    "infinite": b'{"kind":"query","event_id":"b","time":"2026-10-29T08:00:00Z","response_time":1e999',
    "not a time": b'{"kind":"query","event_id":"b","time":"9999-99-99T08:00:00Z"',
    "not text": b'{"kind":"query","event_id":"b","time":"2026-10-29T08:00:00Z","query":"\xe9"',
    "without an id": b'{"kind":"query","time":"2026-10-29T08:00:00Z"',
    "another kind": b'{"kind":"feedback","event_id":"b","time":"2026-10-29T08:00:00Z"',
    "two on a line": b'{"kind":"query","event_id":"b","time":"2026-10-29T08:00:00Z"} {"x":1',
    "nested too deep": b'{"kind":"query","event_id":"b","time":"2026-10-29T08:00:00Z","x":' + b"[" * 3000 + b"]" * 3000,
    "zeros": b"\0" * 40,
}  # fmt: skip


def total(site: Site) -> tuple[float | None, int]:
    answer = site.store.query(MetricQuery(metric="cost", window=WINDOW))
    return answer.value, answer.n


def assert_served(site: Site, good: list[Query], bad: int) -> None:
    """The good events are in the engine, the bad lines are told of."""
    site.store.flush()
    report = site.store.verify()
    assert report.ok, [str(difference) for difference in report.differences]
    assert report.engine == {"query": len(good)}
    assert report.set_aside == site.journal.account().set_aside == bad
    costs = [event.cost for event in good if event.cost is not None]
    assert total(site) == (pytest.approx(sum(costs)), len(costs))


class Mixed(NamedTuple):
    """A site, its good events and how many bad lines are between them."""

    site: Site
    good: list[Query]
    bad: list[bytes]


@pytest.fixture(scope="module")
def mixed(embedded: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    open_it, opened = opener(tmp_path_factory.mktemp("mixed"), embedded)
    yield Mixed(open_it(), [], [])
    opened[0].discard()


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_line_that_is_no_event_is_set_aside_and_the_rest_is_served(mixed: Mixed, bad: bytes) -> None:
    good = queries(random.Random(1), 20, WINDOW.start, WINDOW.end, first=len(mixed.good))
    name = f"b{len(mixed.bad)}"
    mixed.site.journal.append([*map(entry, good[:9]), Entry("query", name, bad), *map(entry, good[9:])])
    mixed.good.extend(good)
    mixed.bad.append(bad)
    assert_served(mixed.site, mixed.good, len(mixed.bad))
    *_, record = mixed.site.journal.set_aside_lines()
    (segment,) = mixed.site.journal.snapshot().segments
    line = mixed.site.journal.read(segment, record.offset, record.offset + record.bytes)
    assert line.startswith(bad)
    assert line.endswith(b'Z"}\n')
    assert record.reason
    assert len(mixed.site.store.events(EventQuery(kind="query", window=WINDOW, limit=1000)).items) == len(mixed.good)
    if bad == BAD["corrupt"]:
        assert mixed.site.store.rebuild().ok
        assert_served(mixed.site, mixed.good, len(mixed.bad))  # told once


def test_a_line_that_only_the_engine_refuses_is_found_by_halving(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "unreadable", lambda kind, data: [])
    site = open_site()
    good = queries(random.Random(2), 60, WINDOW.start, WINDOW.end)
    bad = [Entry("query", f"bad-{name}", BAD[name]) for name in ("corrupt", "lone surrogate", "not a time", "negative")]
    mixed = list(map(entry, good))
    for place, one in zip((0, 17, 18, 63), bad, strict=True):
        mixed.insert(place, one)
    site.journal.append(mixed)
    assert_served(site, good, 4)


def test_a_thousand_bad_lines_between_good_ones_hold_nothing_up(open_embedded: OpenSite) -> None:
    site = open_embedded()
    good = queries(random.Random(3), 1100, WINDOW.start, WINDOW.end)
    kinds = list(BAD.values())
    mixed: list[Entry] = []
    for number, event in enumerate(good):
        mixed += [entry(event), Entry("query", f"bad-{number}", kinds[number % 8])]
    site.journal.append(mixed)
    assert_served(site, good, 1100)


def test_an_end_in_the_middle_of_halving_loses_and_doubles_nothing(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends at every step of the work in turn; each time another store goes on."""
    monkeypatch.setattr(loader, "unreadable", lambda kind, data: [])
    site = open_site()
    site.store.flush()
    good = queries(random.Random(4), 10, WINDOW.start, WINDOW.end)
    mixed = list(map(entry, good))
    for place in (3, 9):
        mixed.insert(place, Entry("query", f"bad-{place}", BAD["corrupt"]))
    site.journal.append(mixed)

    class Ended(BaseException):
        pass

    steps = 0
    while True:
        left = [steps]
        engine = site.store._engine
        insert = engine.insert

        def until(table: str, block: bytes, token: str, *, insert: Any = insert, left: list[int] = left) -> None:
            if left[0] % 2 == 0 and left[0] < 2:
                raise Ended  # before the engine has it
            insert(table, block, token)
            left[0] -= 2
            if left[0] == -1:
                raise Ended  # after the engine has it, before anybody knows

        monkeypatch.setattr(engine, "insert", until)
        try:
            site.store._loader.step()
            break
        except Ended:
            steps += 1
            options: dict[str, Any] = {"clock": site.clock, "database": engine.database}
            site.store._engine.close()
            site.store._closed = True
            site.close()
            site = open_site(site.directory, **options)
            site.store._engine.open()
    assert steps >= 4
    monkeypatch.undo()
    assert_served(site, good, 2)


def test_lines_are_cut_at_line_feeds_alone() -> None:
    data = b"a\x0b\r\n\x85b\x1c\n\nlast"
    assert [line for _, line in lines(data)] == [b"a\x0b\r\n", b"\x85b\x1c\n", b"\n", b"last"]
    assert without(data, {4}) == b"a\x0b\r\n\nlast"
    assert len(unreadable("query", data)) == 4
