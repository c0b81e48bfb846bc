"""The sampler: what it reads of a real machine, and that a reading that fails costs only itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from collect_support import Open

from barograph.collect import sampler as sampler_module
from barograph.collect.sampler import SystemSampler
from barograph.core.event import System
from barograph.journal.journal import Journal
from barograph_client.clock import Clock, ManualClock, SystemClock
from barograph_client.errors import DiskFull, InvalidSettings
from barograph_client.identifiers import IdentifierSource

PATIENCE = 30.0  # seconds that a test waits for a thread before it fails


def make(
    directory: Path,
    record: Callable[[System], object] = lambda event: None,
    clock: Clock | None = None,
    interval: float = 0.01,
) -> SystemSampler:
    clock = clock or SystemClock()
    return SystemSampler(record, clock, IdentifierSource(clock), interval, directory, "rag")


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts an ``nvidia-smi`` that is a shell script on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def install(script: str) -> None:
        program = folder / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return install


def test_a_sample_is_a_valid_internal_event_of_this_machine_and_process(tmp_path: Path) -> None:
    event = make(tmp_path).sample()
    assert msgspec.json.decode(msgspec.json.encode(event), type=System) == event
    assert (event.origin, event.project) == ("internal", "rag")
    assert event.host
    assert event.memory_percent is not None
    assert 0 < event.memory_percent <= 100
    assert event.memory_used is not None
    assert event.memory_used > 0
    assert event.process_memory is not None
    assert event.process_memory > 2**20
    stat = os.statvfs(tmp_path)
    assert event.disk_free is not None
    assert 0 <= event.disk_free <= stat.f_blocks * stat.f_frsize
    assert event.disk_percent is not None


def test_cpu_use_is_told_once_there_was_time_to_use_it(tmp_path: Path) -> None:
    clock = ManualClock(datetime(2026, 11, 24, 9, 0, tzinfo=UTC))
    sampler = make(tmp_path, clock=clock)
    assert sampler.sample().cpu_percent is None  # no time has passed: unknown, which is not zero
    clock.advance(10)
    sum(number * number for number in range(300_000))
    event = sampler.sample()
    assert event.cpu_percent is not None
    assert 0 <= event.cpu_percent <= 100
    assert event.process_cpu_percent is not None
    assert event.time == clock.now()


def test_a_reading_that_fails_is_absent_and_the_others_are_there(tmp_path: Path) -> None:
    event = make(tmp_path / "not" / "there").sample()
    assert (event.disk_percent, event.disk_free) == (None, None)
    assert event.memory_percent is not None


def test_without_a_gpu_its_fields_are_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    event = make(tmp_path).sample()
    assert (event.gpu_percent, event.gpu_memory_percent) == (None, None)


def test_of_several_gpus_the_busiest_is_told(tmp_path: Path, gpu: Callable[[str], None]) -> None:
    gpu("printf '3, 100, 1000\\n87, 512, 2048\\n[N/A], 1, 2\\n\\nnan, 1, 2\\n50, 2000, 2048\\n'")
    event = make(tmp_path).sample()
    assert (event.gpu_percent, event.gpu_memory_percent) == (87.0, 25.0)


@pytest.mark.parametrize(
    "script", ["exit 9", "echo No devices were found", "printf '[N/A], [N/A], [N/A]\\n'", "kill $$"]
)
def test_a_gpu_that_does_not_answer_is_absent(tmp_path: Path, gpu: Callable[[str], None], script: str) -> None:
    gpu(script)
    event = make(tmp_path).sample()
    assert (event.gpu_percent, event.gpu_memory_percent) == (None, None)
    assert event.memory_percent is not None


def test_a_gpu_that_hangs_is_given_up_and_not_asked_for_ever(
    tmp_path: Path, gpu: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "GPU_SECONDS", 0.2)
    asked = tmp_path / "asked"
    gpu(f"echo x >> {asked}; exec sleep 600")
    sampler = make(tmp_path)
    for _ in range(sampler_module.GPU_TRIES + 2):
        assert sampler.sample().gpu_percent is None
    assert asked.read_text().count("x") == sampler_module.GPU_TRIES


def test_samples_are_recorded_as_internal_events_on_a_real_journal(
    tmp_path: Path, journal: Journal, open_collector: Open
) -> None:
    collector = open_collector()
    enough = threading.Event()

    def record(event: System) -> None:
        collector.record_internal(event)
        if journal.count("system") >= 3:
            enough.set()

    sampler = make(tmp_path, record)
    sampler.start()
    sampler.start()
    assert enough.wait(PATIENCE)
    sampler.stop()
    sampler.stop()
    assert sampler.recorded == journal.count("system", internal=True)
    assert sampler.failed == 0
    assert journal.account().received == 0  # they are Barograph's own, not the callers'


def test_after_stop_nothing_more_is_recorded_and_start_goes_on(tmp_path: Path) -> None:
    events: list[System] = []
    seen = threading.Event()

    def record(event: System) -> None:
        events.append(event)
        seen.set()

    sampler = make(tmp_path, record)
    sampler.start()
    assert seen.wait(PATIENCE)
    sampler.stop()
    count = len(events)
    assert not any(thread.name == "barograph-sampler" for thread in threading.enumerate())
    assert sampler.recorded == count
    seen.clear()
    sampler.start()
    assert seen.wait(PATIENCE)
    sampler.stop()
    assert len(events) > count


def test_a_sample_that_cannot_be_recorded_is_counted_and_the_next_is_tried(tmp_path: Path) -> None:
    calls: list[System] = []
    again = threading.Event()

    def record(event: System) -> None:
        calls.append(event)
        if len(calls) == 1:
            raise DiskFull("no space is left")
        again.set()

    sampler = make(tmp_path, record)
    sampler.start()
    assert again.wait(PATIENCE)
    sampler.stop()
    assert (sampler.failed, sampler.recorded) == (1, len(calls) - 1)
    assert "no space is left" in sampler.last_error


def test_stop_does_not_wait_for_the_interval(tmp_path: Path) -> None:
    sampler = make(tmp_path, interval=86_400)
    sampler.start()
    sampler.stop()
    assert sampler.recorded == 0


@pytest.mark.parametrize("interval", [0.0, -1.0, float("nan"), float("inf")])
def test_an_interval_that_is_no_time_is_refused(tmp_path: Path, interval: float) -> None:
    with pytest.raises(InvalidSettings, match="interval"):
        make(tmp_path, interval=interval)
