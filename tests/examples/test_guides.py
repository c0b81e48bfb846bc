"""What ``docs/integrate/`` shows is what the examples do, and its shell commands work as they stand."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.examples.expected import PROGRAMS, library
from tests.examples.running_server import EXAMPLES, ROOT, RunningServer, environment, run

GUIDES = ROOT / "docs" / "integrate"
DEFAULT = "http://127.0.0.1:4318"
OF_EXAMPLE = {"llama-index": "llama_index_rag", "langchain": "langchain_rag", "plain-python": "plain_python",
              "custom-opentelemetry": "custom_pipeline_opentelemetry"}  # fmt: skip
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")


def blocks(guide: str, language: str) -> list[str]:
    text = (GUIDES / f"{guide}.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize(("guide", "example"), OF_EXAMPLE.items())
def test_the_code_of_a_guide_stands_in_its_example(guide: str, example: str) -> None:
    program = (EXAMPLES / f"{example}.py").read_text(encoding="utf-8")
    shown = blocks(guide, "python")
    assert len(shown) >= 4
    for block in shown:
        steps = range(0, 13, 4)  # a guide shows it without the indentation that it has there
        assert any(textwrap.indent(block, " " * step) in program for step in steps), block


@pytest.mark.parametrize(("guide", "example"), OF_EXAMPLE.items())
def test_a_guide_names_its_example_and_the_next_step(guide: str, example: str) -> None:
    text = (GUIDES / f"{guide}.md").read_text(encoding="utf-8")
    assert f"(../../examples/{example}.py)" in text
    assert f"python examples/{example}.py" in text
    assert "barograph show queries" in text
    assert "(README.md#nothing-arrives)" in text


def test_every_example_has_a_guide_and_every_guide_is_listed() -> None:
    programs = {path.stem for path in EXAMPLES.glob("*.py")} - {"library"}
    assert programs == set(OF_EXAMPLE.values()) == {program.name for program in PROGRAMS}
    listed = (GUIDES / "README.md").read_text(encoding="utf-8")
    for path in GUIDES.glob("*.md"):
        assert path.name == "README.md" or f"]({path.name})" in listed


@needs_curl
def test_the_curl_commands_send_what_they_show(server: RunningServer) -> None:
    commands = blocks("README", "sh")
    assert len(commands) == 3
    for command in commands:
        assert DEFAULT in command
        sent = run(["bash", "-c", command.replace("curl ", "curl -sS --fail ").replace(DEFAULT, server.address)])
        assert sent.code == 0, sent.stderr
    (posted,) = server.queries("by-curl", 1)
    assert (posted["user_id"], posted["response_time"], posted["output_tokens"]) == ("ada", 1.2, 8)
    assert server.detail("my-trace-1")["feedback"][0]["rating"] == 5
    (traced,) = server.queries("otlp-by-curl", 1)
    assert (traced["query"], traced["answer"], traced["user_id"]) == (posted["query"], posted["answer"], "ada")
    assert [(one["id"], one["score"]) for one in traced["documents"]] == [("loans", 0.44)]
    assert (traced["retrieval_time"], traced["generation_time"]) == pytest.approx((0.2, 0.7))
    assert (traced["input_tokens"], traced["output_tokens"]) == (54, 8)


class Keys:
    """Keys of a server that asks for them."""

    def __init__(self, server: RunningServer, ingest: str, read: str) -> None:
        self.server = server
        self.ingest = ingest
        self.read = read


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    directory = tmp_path_factory.mktemp("with-keys") / "rag-data"
    made = run([sys.executable, "-m", "barograph", "init", "--data-dir", str(directory)])
    assert made.code == 0, made.stderr

    def key(scope: str) -> str:
        command = [sys.executable, "-m", "barograph", "key", "create", "--scope", scope, "--data-dir", str(directory)]
        created = run([*command, "--json"])
        assert created.code == 0, created.stderr
        found = re.search(r'"key": *"([^"]+)"', created.stdout)
        assert found, created.stdout
        return found[1]

    ingest, read = key("ingest"), key("read")
    with RunningServer(directory) as running:
        yield Keys(running, ingest, read)


def send(name: str, keys: Keys, spool: Path, **variables: str) -> None:
    """Run an example against the server with keys; it ends well whatever the server says."""
    addresses = {"OTEL_EXPORTER_OTLP_ENDPOINT": keys.server.address, "BAROGRAPH_URL": keys.server.address}
    done = run([sys.executable, str(EXAMPLES / f"{name}.py")], BAROGRAPH_SPOOL=str(spool), **addresses, **variables)
    assert done.code == 0, done.stderr


def test_a_key_is_sent_the_way_the_guide_says(keys: Keys, tmp_path: Path) -> None:
    listed = (GUIDES / "README.md").read_text(encoding="utf-8")
    assert 'OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20<key>"' in listed
    send(
        "custom_pipeline_opentelemetry",
        keys,
        tmp_path,
        OTEL_EXPORTER_OTLP_HEADERS=f"Authorization=Bearer%20{keys.ingest}",
    )
    send("plain_python", keys, tmp_path, BAROGRAPH_KEY=keys.ingest)
    for pipeline in ("library-pipeline", "library-plain"):
        assert len(keys.server.queries(pipeline, len(library.QUESTIONS), keys.read)) == len(library.QUESTIONS)


def test_without_a_key_nothing_is_taken_and_the_program_goes_on(keys: Keys, tmp_path: Path) -> None:
    before = keys.server.get("/api/v1/stats", keys.read)["received"]
    send("custom_pipeline_opentelemetry", keys, tmp_path)
    assert keys.server.get("/api/v1/stats", keys.read)["received"] == before


def test_the_environment_of_the_programs_has_no_way_out() -> None:
    found = environment()
    assert found["https_proxy"] == found["http_proxy"]
    assert not any(name.startswith(("BAROGRAPH_", "OTEL_")) for name in found)
