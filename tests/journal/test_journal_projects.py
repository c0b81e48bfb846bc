"""Projects in one journal: an id is known by project, and every project's account balances and adds up to the whole."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_support import START, Open, crash, entries, uuid

from barograph.core.settings import JournalSettings
from barograph.journal import accounts, duplicates, stream
from barograph.journal.accounts import Account
from barograph.journal.archive import INDEX
from barograph.journal.duplicates import key_of
from barograph.journal.entry import Entry, Rejection
from barograph.journal.heads import count_projects, project_of_event, project_of_record
from barograph.journal.journal import Journal
from barograph_client.clock import ManualClock
from barograph_client.errors import JournalError

PROJECTS = ["default", "shop", "Our Shop", 'quote " \\ \x01', "Zürich"]


def entry(event_id: str, project: str = "default", *, internal: bool = False, **more: object) -> Entry:
    """An entry as the collector makes it: time and project follow the id."""
    fields: dict[str, object] = {"kind": "query", "event_id": event_id, "time": "2026-11-24T09:00:00Z"}
    if project != "default":
        fields["project"] = project
    body = json.dumps({**fields, **more}, separators=(",", ":"), ensure_ascii=False)
    return Entry("query", event_id, body[:-1].encode(), internal, project)


def work(journal: Journal, first: int) -> None:
    """Stored, duplicate, rejected and internal lines of three projects, in one commit."""
    shop = [entry(uuid(first + n), "shop", tags={"project": "default"}) for n in range(5)]
    own = [entry(f"own {first}", "shop", internal=True), entry(f"own {first}", internal=True)]
    journal.submit(
        [*shop, *shop[:2], *entries(first, 3), entry(uuid(first), "Zürich", query='"project":"shop"'), *own],
        [
            Rejection("query", "cost", "must not be negative", '{"project":"Zürich"}', project)
            for project in ("shop", "shop", "default")
        ],
    ).wait()


def parts(journal: Journal) -> dict[str, tuple[int, int, int, int]]:
    found = {}
    for project in ("default", "shop", "Zürich", "nobody"):
        account = journal.account(project)
        assert account.received == account.stored + account.rejected + account.duplicate
        found[project] = (account.stored, account.rejected, account.duplicate, sum(account.internal.values()))
    return found


EXPECTED = {"default": (3, 1, 0, 1), "shop": (5, 2, 2, 1), "Zürich": (1, 0, 0, 0), "nobody": (0, 0, 0, 0)}


def times(count: int) -> dict[str, tuple[int, ...]]:
    return {project: tuple(count * one for one in numbers) for project, numbers in EXPECTED.items()}


class TestAccounts:
    def test_of_projects_add_up_to_the_whole(self, open_journal: Open) -> None:
        journal = open_journal()
        for n in range(3):
            work(journal, 10 * n)
            assert parts(journal) == times(n + 1)
            whole = journal.account()
            assert [whole.stored, whole.rejected, whole.duplicate, sum(whole.internal.values())] == [
                sum(column) for column in zip(*parts(journal).values(), strict=True)
            ]

    @pytest.mark.parametrize("clean", [True, False], ids=["closed", "killed"])
    def test_of_projects_survive_a_restart(self, open_journal: Open, clock: ManualClock, clean: bool) -> None:
        journal = open_journal()
        for n in range(3):
            work(journal, 10 * n)
            if n % 2:
                assert parts(journal) == times(n + 1)  # counted early or late
            if clean:
                journal.close()
            else:
                crash(journal)
            journal = open_journal()
            clock.advance(40_000)
        assert parts(journal) == times(3)

    def test_of_projects_are_counted_in_files_of_any_length_and_part(
        self, open_journal: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = open_journal(segment_bytes=4096)
        for n in range(40):
            work(first, 10 * n)
        first.close()
        monkeypatch.setattr(accounts, "_CHUNK", 37)
        assert parts(open_journal()) == times(40)

    def test_of_projects_stay_when_days_are_archived_and_retired(
        self, open_journal: Open, clock: ManualClock, tmp_path: Path
    ) -> None:
        journal = open_journal()
        work(journal, 0)
        clock.advance(86_400)
        work(journal, 10)
        clock.advance(86_400)
        journal.compress_closed()
        assert parts(journal) == times(2)
        journal.close()
        index = json.loads((tmp_path / "data/archive/journal/query/2026-11-24" / INDEX).read_bytes())
        assert [segment["projects"] for segment in index["segments"]] == [{"shop": 5, "Zürich": 1}, {"shop": 1}]
        journal = open_journal()
        assert parts(journal) == times(2)
        assert journal.retire("query", START.date()) == 11
        assert parts(journal) == times(2)
        journal.close()
        journal = open_journal()
        assert parts(journal) == times(2)
        assert journal.account("shop").internal == {"query": 2}

    @pytest.mark.parametrize("harm", ["lost", "old"])
    def test_of_projects_are_counted_again_when_an_index_does_not_tell(
        self, open_journal: Open, clock: ManualClock, tmp_path: Path, harm: str
    ) -> None:
        journal = open_journal()
        work(journal, 0)
        clock.advance(86_400)
        journal.compress_closed()
        journal.close()
        index = tmp_path / "data/archive/journal/query/2026-11-24" / INDEX
        if harm == "lost":
            index.unlink()
        else:
            told = json.loads(index.read_bytes())
            for segment in told["segments"]:
                del segment["projects"]
            index.write_text(json.dumps(told))
        assert parts(open_journal()) == times(1)

    def test_do_not_count_what_the_disk_did_not_keep(self, open_journal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        journal = open_journal()
        work(journal, 0)

        def fail(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as broken:
            broken.setattr(stream, "sync_file", fail)
            with pytest.raises(JournalError):
                work(journal, 10)
            assert parts(journal) == times(1)
        assert parts(journal) == times(1)
        work(journal, 10)
        assert parts(journal) == times(2)

    def test_of_projects_tell_what_was_set_aside(self, open_journal: Open) -> None:
        journal = open_journal()
        journal.append([entry("a"), entry("b", "shop")])
        (segment,) = journal.snapshot().segments
        lines = journal.read(segment, 0, segment.size).splitlines(keepends=True)
        journal.set_aside(segment, len(lines[0]), lines[1], "the engine: number out of range")
        assert [journal.account(project).set_aside for project in (None, "default", "shop")] == [1, 0, 1]
        crash(journal)
        again = open_journal()
        assert [again.account(project).set_aside for project in (None, "default", "shop")] == [1, 0, 1]

    def test_of_projects_are_not_counted_anew_for_every_question(
        self, open_journal: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = open_journal()
        work(first, 0)
        first.close()
        journal = open_journal()
        assert parts(journal) == times(1)

        def read(*_: object) -> bytes:
            raise AssertionError("a file was read again")

        monkeypatch.setattr(journal._catalogue, "read", read)
        monkeypatch.setattr(accounts, "read_range", read)
        assert parts(journal) == times(1)

    def test_of_a_batch_sent_again_tell_duplicates(self, open_journal: Open) -> None:
        journal = open_journal()
        batch = [entry("a", "shop"), entry("b", "shop")]
        rejections = [Rejection("query", "cost", "bad", "{}", "shop")]
        journal.submit(batch, rejections).wait()
        assert journal.repeat(batch, rejections).wait() == []
        assert journal.account("shop") == Account(
            received=6, stored=2, rejected=2, duplicate=2, internal={}, set_aside=0
        )
        assert journal.account("default").received == 0
        assert journal.repeat([]).wait() == []


class TestIds:
    def test_of_one_project_say_nothing_of_another(self, open_journal: Open) -> None:
        journal = open_journal()
        for project in PROJECTS:
            assert journal.append([entry(uuid(1), project), entry("text", project)]) == ["stored", "stored"]
        for project in PROJECTS:
            assert journal.append([entry(uuid(1), project), entry("text", project)]) == ["duplicate"] * 2

    def test_of_projects_are_known_again_after_a_restart(self, open_journal: Open) -> None:
        first = open_journal()
        first.append([entry(uuid(1)), entry(uuid(2), "shop"), entry("text", 'quote " \\ \x01')])
        crash(first)
        again = open_journal()
        assert (
            again.append([entry(uuid(1)), entry(uuid(2), "shop"), entry("text", 'quote " \\ \x01')])
            == ["duplicate"] * 3
        )
        assert again.append([entry(uuid(1), "shop"), entry(uuid(2)), entry("text")]) == ["stored"] * 3

    def test_of_lines_edited_by_hand_are_known_by_the_project_that_the_line_names(
        self, open_journal: Open, tmp_path: Path
    ) -> None:
        first = open_journal()
        first.append([entry("a", tags={"project": "shop"}), entry("b", query='"project":"shop"')])
        first.close()
        file = tmp_path / "data/journal/query/2026-11-24/000001.jsonl"
        edited = (
            '{"kind":"query","event_id":"c","time":"2026-11-24T09:00:00Z","query":"x","project":"shop",'
            '"received_at":"2026-11-24T09:00:00Z"}\n'
            '{ "project" : "shop", "event_id": "d", "received_at": "2026-11-24T09:00:00Z", "kind": "query" }\n'
            '{"kind":"query","event_id":"e","time":"2026-11-24T09:00:00Z","project":"default",'
            '"received_at":"2026-11-24T09:00:00Z"}\n'
        )
        file.write_text(edited + file.read_text())
        again = open_journal()
        assert [again.account(project).stored for project in ("default", "shop")] == [3, 2]
        ids = "abcde"
        assert again.append([entry(one) for one in ids]) == ["duplicate", "duplicate", "stored", "stored", "duplicate"]
        assert again.append([entry(one, "shop") for one in ids]) == [
            "stored", "stored", "duplicate", "duplicate", "stored",
        ]  # fmt: skip

    def test_of_a_flood_in_one_project_are_bounded_for_all(self, open_journal: Open, clock: ManualClock) -> None:
        journal = open_journal(duplicate_window=1000, duplicate_seconds=0)
        for n in range(0, 6000, 1000):
            journal.append([entry(uuid(n + i), "shop") for i in range(1000)])
            clock.advance(1)
        assert len(journal._writer._window) <= duplicates.CAP * 1000

    @given(st.text(max_size=8), st.text(max_size=8), st.sampled_from(PROJECTS), st.sampled_from(PROJECTS))
    def test_are_the_same_only_in_the_same_project(self, one: str, other: str, mine: str, yours: str) -> None:
        assert (key_of(one, mine) == key_of(other, yours)) == ((one, mine) == (other, yours))


ids = st.one_of(st.integers(0, 20).map(uuid), st.sampled_from(["a", 'b"\\', "project", '","project":"shop']))
events = st.lists(st.tuples(ids, st.sampled_from(PROJECTS), st.booleans()), max_size=12)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(events, min_size=1, max_size=5), restarts=st.lists(st.booleans(), min_size=5, max_size=5))
def test_a_journal_answers_as_a_set_of_project_and_id_would(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, str, bool]]], restarts: list[bool]
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    clock = ManualClock(START)
    journal = Journal(directory, clock, JournalSettings())
    known: set[tuple[str, str]] = set()
    counts: Counter[tuple[str, str]] = Counter()
    for batch, restart in zip(batches, restarts, strict=False):
        expected = []
        for event_id, project, _ in batch:
            expected.append("duplicate" if (project, event_id) in known else "stored")
            known.add((project, event_id))
            counts[project, expected[-1]] += 1
        entered = [entry(one, project, **({"tags": {"project": "x"}} if odd else {})) for one, project, odd in batch]
        assert journal.append(entered) == expected
        if restart:
            crash(journal)
            journal = Journal(directory, clock, JournalSettings())
            clock.advance(timedelta(hours=9).total_seconds())
    for project in PROJECTS:
        account = journal.account(project)
        assert (account.stored, account.duplicate) == (counts[project, "stored"], counts[project, "duplicate"])
        assert account.received == account.stored + account.duplicate
    assert journal.account().received == counts.total()
    journal.close()


@given(
    st.lists(st.sampled_from(PROJECTS), max_size=20),
    st.integers(1, 200),
)
def test_lines_are_counted_alike_however_a_file_is_cut_into_parts(projects: list[str], size: int) -> None:
    lines = b"".join(entry("x", project).body + b',"received_at":"2026-11-24T09:00:00Z"}\n' for project in projects)
    cut = [lines[start : start + size] for start in range(0, len(lines), size)]
    expected = Counter(project for project in projects if project != "default")
    assert count_projects(cut, project_of_event) == expected


@pytest.mark.parametrize(
    "line", [b"", b"{", b'"project"', b'{"project":5}', b'\xff"project"', b'{"event_id":"project"}']
)
def test_a_line_that_tells_no_project_counts_for_the_default_one(line: bytes) -> None:
    assert project_of_event(line) == project_of_record(line) == "default"
