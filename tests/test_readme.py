"""The README is true: its Python runs, its commands work, its picture is what the demo draws."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.serving import Serving

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, having: str = "") -> str:
    """The first block of a language that holds a text."""
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if having in text]
    assert found, f"the README has no {language} block with {having!r}"
    return str(found[0])


def run(words: list[str], directory: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BAROGRAPH_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        words, cwd=directory, input=stdin, capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def test_the_python_example_runs_as_shown(tmp_path: Path) -> None:
    finished = run([sys.executable, "-W", "error", "-c", block("python")], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "'received': 3, 'stored': 3, 'rejected': 0, 'duplicate': 0" in finished.stdout
    assert "System Status:" in finished.stdout
    assert "User Satisfaction: 4" in finished.stdout


def test_the_guide_runs_as_one_program(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    program = "\n".join(re.findall(r"```python\n(.*?)```", guide, re.DOTALL))
    finished = run([sys.executable, "-W", "error", "-c", program], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "0.93 3.0" in finished.stdout
    assert "Not settled yet" in finished.stdout
    settings = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)[0]
    (tmp_path / "rag-data" / "barograph.toml").write_text(settings, encoding="utf-8")
    asked = run([sys.executable, "-m", "barograph", "query", "queue.longest", "--last", "1h", "--json"], tmp_path)
    assert asked.returncode == 0, asked.stderr
    assert '"value": 3' in asked.stdout


def test_the_wire_example_works_as_shown(tmp_path: Path) -> None:
    server, program, show = block("sh", "barograph serve").strip().splitlines()
    assert server.split("  #")[0].strip() == "barograph serve &"
    with Serving(tmp_path / "rag-data") as serving:
        client = block("python", "barograph.Client").replace("http://127.0.0.1:4318", serving.url)
        finished = run([sys.executable, "-W", "error", "-c", client], tmp_path)
        assert finished.returncode == 0, finished.stderr
        asked = run(shlex.split(show.split("  #")[0]), tmp_path)
        assert asked.returncode == 0, asked.stderr
        assert "What is RAG?" in asked.stdout
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=" in program  # tests/examples runs such programs


def test_the_shell_examples_work_as_shown(tmp_path: Path) -> None:
    (tmp_path / "file.jsonl").write_text(
        '{"query": "What is RAG?", "response_time": 2.0, "model": "small", "cost": 0.01}\n'
        '{"kind": "feedback", "rating": 5}\n',
        encoding="utf-8",
    )
    commands = [line.split("  #")[0].strip() for line in block("sh", "barograph record").splitlines() if line.strip()]
    assert len(commands) >= 5
    for line in commands:
        finished = run(["bash", "-c", line], tmp_path)
        assert finished.returncode == 0, (line, finished.stderr)
        assert finished.stdout.strip(), line


@pytest.mark.slow
def test_the_picture_is_what_the_demo_draws(tmp_path: Path) -> None:
    finished = run([sys.executable, "-m", "barograph", "demo", "--charset", "unicode", "--width", "80"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    picture = re.search(r"<!-- picture.*?```\n(.*?)```", README, re.DOTALL)
    assert picture
    drawn = finished.stdout.splitlines()
    shown = [line for line in picture[1].splitlines() if re.match(r"[A-Z].*: ", line)]
    assert len(shown) >= 4
    for line in shown:
        name = line.split(":")[0]
        assert any(other.startswith(name) for other in drawn), line
    watched = re.search(r"\d+ rules are watched", picture[1])
    assert watched
    assert watched[0] in finished.stdout
    assert "n=19,366" in finished.stdout
