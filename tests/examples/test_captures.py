"""``tools/capture_traces.py`` keeps what a program sends, and the files that it made hold nothing of the machine."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec
import pytest
from tests.examples.expected import library
from tests.examples.running_server import EXAMPLES, ROOT, run

from barograph.core.event import Span

FILES = sorted((ROOT / "tests" / "data" / "otel").glob("*.jsonl"))
MOST_BYTES = 200_000
_HOMES = re.compile(r"(?<![\w.])/(?:home|root|Users|tmp|work|opt|usr)/")
decode = msgspec.json.Decoder(Span).decode


def test_a_capture_is_every_span_that_was_sent_as_an_event(tmp_path: Path) -> None:
    target = tmp_path / "captured.jsonl"
    tool = [sys.executable, str(ROOT / "tools" / "capture_traces.py"), str(target), "--"]
    done = run([*tool, sys.executable, str(EXAMPLES / "custom_pipeline_opentelemetry.py")])
    assert done.code == 0, done.stderr
    spans = [decode(line) for line in target.read_bytes().splitlines()]
    assert len({span.trace_id for span in spans}) == len(library.QUESTIONS)
    assert len({span.event_id for span in spans}) == len(spans) == 6 * len(library.QUESTIONS)
    assert f"{len(spans)} spans in" in done.stdout
    assert str(ROOT) not in target.read_text(encoding="utf-8")


def test_a_program_that_fails_leaves_no_capture(tmp_path: Path) -> None:
    target = tmp_path / "captured.jsonl"
    tool = [sys.executable, str(ROOT / "tools" / "capture_traces.py"), str(target), "--"]
    assert run([*tool, sys.executable, "-c", "raise SystemExit(3)"]).code != 0
    assert not target.exists()


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_captured_file_is_small_whole_and_names_no_folder_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    assert not _HOMES.search(text)
    spans = [decode(line) for line in text.splitlines()]
    questions = {question.text for question in library.QUESTIONS}
    assert all(any(question in str(span.attributes) for span in spans) for question in questions)
    assert f"`{path.name}`" in (path.parent / "README.md").read_text(encoding="utf-8")
