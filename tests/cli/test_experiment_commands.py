"""An experiment's life on the command line: the same words and answers on a directory and on a running server."""

from __future__ import annotations

import inspect
import json
import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec import structs
from tests.cli.cli_support import Finished, barograph, several
from tests.support.serving import Serving

from barograph.cli.experiment_desk import RemoteExperiments
from barograph.cli.experiment_pages import next_steps
from barograph.cli.experiment_plan import share_of
from barograph.cli.experiment_reallocation import reallocate
from barograph.cli.experiment_writing import create
from barograph.cli.options import Exit
from barograph.core.metric import Catalogue
from barograph.experiments.assignment import definition_of
from barograph.experiments.design import Experiment, State, equal_variants, validated
from barograph.experiments.written import from_file, from_tree
from barograph.stats.bandit import EXPLORATION
from barograph_client.errors import InvalidExperiment
from barograph_client.experiments.assignment import Assigner

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
USERS = 120


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("definition") / "rerank.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("served") / "data"
    with Serving(directory, toml="default_rules = false\n"):
        yield directory


def on(data: Path, *commands: str) -> list[Finished]:
    """Commands under ``barograph experiment``, ``record`` and ``init``; a word in quotes is one word."""
    words = [[one.strip('"') for one in re.findall(r'"[^"]*"|\S+', command)] for command in commands]
    return several([[*(() if one[0] in ("record", "init") else ("experiment",)), *one, "-d", data] for one in words])


def told(finished: Finished) -> Any:
    assert finished.returncode == 0, finished
    return json.loads(finished.stdout)


def events(arms: dict[str, str]) -> str:
    """An exposure, a query and a rating of each unit, as JSON Lines."""
    made: list[dict[str, object]] = [
        {"kind": "exposure", "experiment": "rerank", "arm": arm, "unit_id": unit, "unit_kind": "user"}
        for unit, arm in arms.items()
    ]
    for number, (unit, arm) in enumerate(arms.items()):
        made.append({"query": "x", "user_id": unit, "trace_id": unit, "response_time": 1 + number % 7 / 10})
        rating = 3 + number % 2 + (arm == "reranked")
        made.append({"kind": "feedback", "trace_id": unit, "user_id": unit, "rating": rating})
    return "\n".join(map(json.dumps, made))


@pytest.mark.parametrize("where", ["directory", "server"])
def test_the_example_of_the_documents_lives_from_draft_to_archive(
    where: str, file: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue("served") if where == "server" else tmp_path / "data"
    if where == "directory":
        assert barograph("init", "-d", data).returncode == 0
    example = validated(msgspec.convert(tomllib.loads(EXAMPLE), Experiment), Catalogue())
    assigner = Assigner(definition_of(structs.replace(example, state="running")))
    paid = {"plan": "paid"}
    arms = {unit: str(assigner.decide({"user": unit}, paid).arm) for unit in map("u-{}".format, range(USERS))}
    (tmp_path / "events.jsonl").write_text(events(arms), encoding="utf-8")
    (
        made, draft, before, preview, started, again, listed, recorded, shown, full, whole, stopped, over, known, away
    ) = on(
        data, f"create {file}", "show rerank", "assign rerank --user u-2 -a plan=paid",
        "assign rerank --user u-2 -a plan=paid --json", "start rerank", "start rerank", "list --json",
        f"record {tmp_path}/events.jsonl", "show rerank --width 80 --charset ascii",
        "show rerank --details --examples --width 80", "show rerank --examples --json",
        'stop rerank --reason "worth its 80 ms"',
        "show rerank --width 80", "history rerank --json", "archive rerank",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "`barograph experiment start rerank` begins it" in made.stdout
    assert "Nothing is known yet: it is a draft." in draft.stdout
    assert f"$ barograph experiment create rerank.toml\n{made.stdout}" in DOCUMENT
    assert f"$ barograph experiment assign rerank --user u-2 -a plan=paid\n{before.stdout}```" in DOCUMENT
    assert told(preview)["arm"] == arms["u-2"]
    assert started.stdout == "rerank is running.\n"
    assert again.returncode == Exit.INPUT
    assert "From here it can become paused, stopped" in again.stderr
    assert [(one["key"], one["state"]) for one in told(listed)] == [("rerank", "running")]

    assert recorded.returncode == 0, recorded.stderr
    assert told(whole)["comparison"]["units"] == {arm: list(arms.values()).count(arm) for arm in ("plain", "reranked")}
    for finished in (shown, full):
        lines = finished.stdout.splitlines()
        assert max(map(len, lines)) <= 80
        assert lines[0].startswith("Rerank the passages")
    text = shown.stdout
    order = ["Not settled", "Sample ratio: ok", "Hypothesis:", "The numbers", "Guardrails", "Next: leave it running"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order), text
    assert text.isascii()
    assert full.stdout.index("Second opinions") < full.stdout.index("Same question, both answers")
    (example,) = told(whole)["examples"]["questions"]
    assert example["question"] == "x"
    assert [one["arm"] for one in example["answers"]] == ["plain", "reranked"]
    assert re.fullmatch(r"data complete to \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n", shown.stderr)
    assert draft.stderr == ""

    assert "is stopped" in stopped.stdout
    assert "It was stopped: worth its 80 ms." in " ".join(over.stdout.split())
    entries = told(known)
    assert [one["action"] for one in entries] == ["stop", "start", "create"]
    assert all("command line" in one["actor"] for one in entries)
    assert "once no program asks for it any more, `barograph experiment archive" in " ".join(over.stdout.split())
    assert away.stdout == "rerank is put away: a program that still asks for it gets its own default.\n"
    page = barograph("show", "experiments", "--experiment", "rerank", "-d", data)
    assert page.stdout.startswith("Rerank the passages (archived)"), page
    assert "Second opinions" in page.stdout


def test_the_example_of_the_help_is_a_definition() -> None:
    text = inspect.cleandoc(str(create.__doc__))
    (made,) = re.findall(r"^key = .*", text, re.DOTALL | re.MULTILINE)
    example = validated(from_tree(from_file(made, "help"), "default"), Catalogue())
    assert (example.key, example.guardrails[0].margin, example.variants[1].payload["top_k"]) == ("rerank", 0.1, 20)


def test_a_few_words_make_an_experiment_and_a_file_revises_it(served: Path, tmp_path: Path) -> None:
    options = "--arms plain:0.9,new:0.1 --metric cost --guardrail response_time.mean:0.1 --unit session"
    arms = [{"key": "plain", "weight": 0.9}, {"key": "new", "weight": 0.1}]
    tree = {"key": "small", "variants": arms, "primary_metric": "cost", "unit_kind": "session", "coverage": 0.5}
    (tmp_path / "small.json").write_text(json.dumps(tree), encoding="utf-8")
    third = {
        **tree,
        "secondary_metrics": ["accuracy"],
        "variants": [arms[0], {**arms[1], "payload": {"k": 5}}],
    }
    (tmp_path / "third.json").write_text(json.dumps(third), encoding="utf-8")
    made, definition, wrong, revised, again, unknown, _, history, entries, preview, last = on(
        served, f"create --key small {options} --json", "show small --definition",
        "create --key small --arms a,b --metric cost", f"revise {tmp_path}/small.json", f"revise {tmp_path}/small.json",
        "pause small", f"revise {tmp_path}/third.json", "history small", "history small --json",
        "assign small --session s-1 --json", "history small --json --limit 2",
    )  # fmt: skip
    assert [(one["key"], one["weight"]) for one in told(made)["variants"]] == [("plain", 0.9), ("new", 0.1)]
    assert wrong.returncode == Exit.INPUT
    assert "exists already" in wrong.stderr
    assert told(definition).keys() >= tree.keys()
    assert not {"state", "project", "started_at"} & told(definition).keys()
    assert revised.stdout.startswith("small is revised"), revised.stderr
    assert unknown.returncode == Exit.INPUT
    assert again.stdout.startswith("small is as it was: the definition changes nothing.\n"), again.stderr
    assert [one["action"] for one in told(entries)] == ["revise", "revise", "create"]
    assert told(last) == told(entries)[:2]
    assert last.stderr == "the last 2 of more: --limit\n"
    assert entries.stderr == ""
    said = " ".join(history.stdout.split())
    assert "coverage from 1 to 0.5" in said
    assert 'secondary_metrics from nothing to ["accuracy"]' in said
    assert "variants[1].payload.k from nothing to 5" in said
    assert told(preview)["unit_kind"] == "session"


def test_commands_that_are_shown_can_be_typed_whatever_the_key() -> None:
    made = Experiment(key="sup port", variants=equal_variants("a", "b"), primary_metric="satisfaction")
    for state in get_args(State):
        said = next_steps(structs.replace(made, state=state), None)
        commands = re.findall("`([^`]*)`", " ".join(said))
        assert commands
        assert all(re.match(r"barograph experiment \w+ 'sup port'", command) for command in commands)


@pytest.mark.parametrize(("kind", "option"), [("session", "--session ID"), ("team", "--unit team=ID")])
def test_what_comes_after_a_draft_fits_a_terminal_and_asks_for_its_unit(kind: str, option: str) -> None:
    said = next_steps(Experiment(key="rerank", variants=equal_variants("a", "b"), unit_kind=kind), None)
    assert max(map(len, said)) <= 80
    assert f"`barograph experiment assign rerank {option}`" in said[-1]


def test_what_is_wrong_is_told_with_its_place_and_the_way_out(served: Path, tmp_path: Path) -> None:
    files = {
        "spelt.toml": EXAMPLE.replace("weight = 0.5", "wieght = 0.5", 1),
        "typed.toml": EXAMPLE.replace("margin = 0.1", 'margin = "0.1"'),
        "broken.toml": "key = ", "moved.toml": f'state = "running"\n{EXAMPLE}',
        "shares.toml": EXAMPLE.replace("weight = 0.5", "weight = 0.4", 1),
        "way.toml": f'method = "bayes"\n{EXAMPLE}', "margin.toml": EXAMPLE.replace("margin = 0.1", "margin = -0.1"),
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    spelt, typed, broken, moved, shares, way, margin, gone, metric, nobody, kind, nothing, both, share, state = on(
        served, *(f"create {tmp_path / name}" for name in files), f"create {tmp_path}/gone.toml",
        "create --key x --arms a,b --metric satisfacton", "show nobody", "assign nobody", "create",
        "create x.toml --key x", "create --key x --arms a,b --metric cost --guardrail cost", "list --state ended",
    )  # fmt: skip
    for finished, says in (
        (spelt, f"spelt.toml, line {EXAMPLE[: EXAMPLE.index('weight = 0.5')].count(chr(10)) + 1}: variants[0].wieght"),
        (spelt, "Did you mean weight?"), (typed, "guardrails[0].margin"), (typed, "Write it without quotes."),
        (broken, "is neither TOML nor JSON"), (moved, "state is not changed by a definition"),
        (way, "fixed horizon, always valid, group sequential. docs/experiments.md"),
        (margin, "must be above 0 (got -0.1)"),
        (shares, "the weights sum to 0.9, not to one"), (gone, "No such file"), (metric, "Did you mean satisfaction"),
        (nobody, "there is no such experiment"), (kind, "say who it is"), (nothing, "--key, --arms and --metric"),
        (both, "name a file, or give --key"), (share, "name:share"), (state, "draft, running"),
    ):  # fmt: skip
        assert finished.returncode == Exit.INPUT, finished
        assert says in finished.stderr, finished.stderr
        assert finished.stderr.count("\n") == 1
        assert "openapi" not in finished.stderr  # no hint for those who speak HTTP


def test_a_number_that_is_none_or_has_no_end_is_refused_before_it_is_sent_and_makes_no_other_experiment() -> None:
    sent: list[bytes | None] = []

    def ask(
        method: str, path: str, parameters: dict[str, Any] | None = None, body: bytes | None = None, *,
        patience: float | None = None,
    ) -> bytes:  # fmt: skip
        sent.append(body)
        return b"{}"

    desk = RemoteExperiments(ask)
    for number in (math.nan, math.inf, -math.inf):
        for tree, place in (
            ({"planned_days": number}, "planned_days"), ({"coverage": number}, "coverage"),
            ({"guardrails": [{"metric": "error_rate", "margin": number}]}, "guardrails[0].margin"),
            ({"variants": [{"key": "a"}, {"key": "b", "payload": {"k": [1, number]}}]}, "variants[1].payload.k[1]"),
        ):  # fmt: skip
            for refused in (desk.create, desk.revise):
                with pytest.raises(InvalidExperiment, match="must be a finite number") as caught:
                    refused({"key": "x", **tree})
                assert caught.value.field == place
        with pytest.raises(InvalidExperiment, match=f"exploration: .* \\(got {number}\\)"):
            desk.reallocate("x", number)
    assert sent == []


def test_shares_follow_the_data_and_it_is_told_from_what_to_what_and_why(served: Path, tmp_path: Path) -> None:
    means = {"large": 5.0, "medium": 4.86, "small": 4.84}
    who = [(f"{arm}-{n}", arm, n) for n in range(40) for arm in means]
    visits: list[dict[str, object]] = [
        {"kind": "exposure", "experiment": "models", "arm": arm, "unit_id": unit, "unit_kind": "user"}
        for unit, arm, _ in who
    ]
    visits += [{"query": "x", "user_id": unit, "response_time": means[arm] + n % 5 / 10} for unit, arm, n in who]
    (tmp_path / "visits.jsonl").write_text("\n".join(map(json.dumps, visits)), encoding="utf-8")
    options = "--arms large,medium,small --metric response_time.mean"
    make, look = f"create --key models {options} --sticky", "reallocate models"
    record = f"record {tmp_path}/visits.jsonl"
    _, _, draft, _, few, recorded, done, again, wide, history, rigid = on(
        served, make, f"create --key rigid {options} --start", look, "start models", look, record,
        f"{look} --width 80", f"{look} --json", f"{look} --exploration 40%", "history models", "reallocate rigid",
    )  # fmt: skip
    assert recorded.returncode == 0, recorded.stderr
    for refused, says, hint in (
        (draft, "the experiment is a draft", "Start it first."),
        (few, "large has 0 users with a measurement", "Wait until each arm has 30"),
        (wide, "exploration is no share that each arm can have", "Choose one from 0.01 to 0.333."),
        (rigid, "users would change their arms", "another one, under another key, that is sticky from the beginning."),
    ):
        assert refused.returncode == Exit.INPUT, refused
        assert says in refused.stderr
        assert hint in refused.stderr
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert f"$ barograph experiment {look}\n{done.stdout}```" in DOCUMENT, done.stdout
    found = told(again)
    weights = {one["key"]: one["weight"] for one in found["experiment"]["variants"]}
    assert (weights, weights["large"]) == (found["before"], 0.05)  # without anything new nothing changes
    said = " ".join(history.stdout.split())
    for part in ("shares: large from 33.3 % to 5 %, medium from 33.3 % to ", "; chance to be the best: large"):
        assert part in said, said
    *_, here = on(tmp_path / "data", "init", f"{make} --start", record, f"{look} --width 80")
    assert here.stdout == done.stdout


def test_the_floor_of_the_command_is_that_of_the_framework() -> None:
    usual = inspect.signature(reallocate).parameters["exploration"].default
    assert share_of(usual, "exploration") == EXPLORATION
