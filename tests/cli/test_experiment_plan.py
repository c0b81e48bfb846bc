"""``barograph experiment plan``: planned by what was recorded, by a running server and on a data directory alike."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import structs
from tests.cli.cli_support import Finished, barograph, several
from tests.server.access_support import make_project
from tests.support.serving import Serving

from barograph.cli.experiment_plan import next_command
from barograph.cli.options import Exit
from barograph.experiments.design import Experiment
from barograph.experiments.plan import Plan

USERS, DAYS = 300, 16


def recorded() -> list[dict[str, object]]:
    """Queries of the last 16 whole days by users who differ, and some of today, which is no whole day."""
    generator = np.random.default_rng(7)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    well, often = generator.normal(0.7, 0.1, USERS), generator.gamma(1.0, 0.2, USERS)
    events: list[dict[str, object]] = []
    for day in range(-DAYS, 0):
        for user in np.repeat(np.arange(USERS), generator.poisson(often)):
            score = float(np.clip(generator.normal(well[user], 0.1), 0, 1))
            time = midnight + timedelta(days=day, hours=12)
            events.append({"query": "q", "user_id": f"u{user}", "accuracy_score": score, "time": time.isoformat()})
    return [*events, *({"query": "q", "user_id": f"new{n}", "accuracy_score": 0.0} for n in range(50))]


COMMANDS: list[list[str]] = [
    ["--metric", "accuracy", "--effect", "5%", "--coverage", "50%", "--json"],
    ["--metric", "accuracy", "--effect", "15%", "--arms", "0.6,0.2,0.2", "--charset", "ascii", "--width", "80"],
    ["--metric", "queries", "--method", "always-valid", "--history", "2w", "--width", "80"],
    ["--metric", "accuracy", "--unit", "tenant"],
    ["--metric", "response_time.p95"],
    ["--metric", "acuracy"],
    ["--metric", "accuracy", "--effect", "0"],
    ["--metric", "accuracy", "--effect", "much"],
    ["--metric", "accuracy", "--method", "bayes"],
    ["--metric", "accuracy", "--history", "36h"],
    ["--metric", "accuracy", "--arms", "1"],
    ["--metric", "accuracy", "--project", "empty"],
    ["--help"],
]
ASKED = 4  # of these need the records


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Finished], list[Finished]]:
    """What a server answers to each command, and then the directory itself to the first of them."""
    directory = tmp_path_factory.mktemp("planned") / "data"
    commands = [["experiment", "plan", *words, "-d", str(directory)] for words in COMMANDS]
    with Serving(directory) as server:
        make_project(directory, "empty")
        reply = server.ask("/api/v1/events", recorded())
        assert reply.json["rejected"] == 0, reply.body
        remote = several(commands)
        assert server.stop() == 0, server.errors()
    return remote, several(commands[:ASKED])


def test_a_server_plans_as_the_directory_does(answers: tuple[list[Finished], list[Finished]]) -> None:
    for words, remote, local in zip(COMMANDS, *answers, strict=False):
        told = [(one.returncode, one.stdout, one.stderr) for one in (remote, local)]
        if "--json" in words:
            plans = [json.loads(one.stdout) for one in (remote, local)]
            assert [plan.pop("complete_to") is not None for plan in plans] == [True, True]
            assert plans[0] == plans[1]
        else:
            assert told[0] == told[1]


def test_it_goes_by_the_whole_days_that_were_recorded(answers: tuple[list[Finished], list[Finished]]) -> None:
    plan = json.loads(answers[1][0].stdout)
    assert plan["history_days"] == DAYS
    assert [one["days"] for one in plan["baselines"]] == [7, 14, DAYS]
    assert len(plan["distinct_units"]) == DAYS
    last = plan["baselines"][-1]
    assert last["units"] == plan["distinct_units"][-1] <= USERS
    assert last["value"] == pytest.approx(0.7, abs=0.02)
    assert plan["need"]["units"] > 50
    assert plan["question"]["coverage"] == 0.5
    assert plan["foreseen_days"] == 2 * DAYS


def test_people_get_advice_and_tables_in_eighty_columns(answers: tuple[list[Finished], list[Finished]]) -> None:
    arms, always = answers[1][1:3]
    for finished in (arms, always):
        assert finished.returncode == 0, finished.stderr
        assert max(map(len, finished.stdout.splitlines())) <= 80
        for part in ("What a change takes", "The least change that is found", "half settled", "28 days"):
            assert part in finished.stdout
    assert arms.stdout.isascii()
    assert "arms 60/20/20" in arms.stdout
    assert "2 treatments share alpha" in arms.stdout
    assert "14 whole days" in always.stdout
    assert "a user" in always.stdout
    assert "Where no days stand, it takes more than 28 days." in always.stdout
    assert "barograph experiment create --key KEY --arms control:0.6,treatment1:0.2," in arms.stderr


def test_the_command_that_it_suggests_makes_the_experiment_that_was_planned(
    answers: tuple[list[Finished], list[Finished]], tmp_path: Path
) -> None:
    told = msgspec.json.decode(answers[1][0].stdout, type=Plan)
    plain = structs.replace(told, advised_days=14, advised_units=1014)
    others: list[dict[str, Any]] = [
        {}, {"weights": (0.6, 0.3, 0.1), "effect": 0.123456789, "alpha": 0.01, "power": 0.9, "unit_kind": "ten ant"},
        {"method": "always valid", "coverage": 1 / 3, "weights": (1 / 3,) * 3}, {"correlation": 0.6, "coverage": 1.0},
        {"method": "group sequential"}, {"method": "group sequential", "looks": 7, "spending": "pocock"},
    ]  # fmt: skip
    plans = [structs.replace(plain, question=structs.replace(plain.question, **other)) for other in others]
    assert barograph("init", "-d", tmp_path).returncode == 0
    commands = [next_command(one).replace("KEY", f"e{n}").replace("DAYS", "21") for n, one in enumerate(plans)]
    assert commands[0] == (
        "barograph experiment create --key e0 --arms control,treatment1 --metric accuracy --days 14 --coverage 50%"
    )
    for found, finished in zip(
        plans, several([[*shlex.split(one)[1:], "--json", "-d", str(tmp_path)] for one in commands]), strict=True
    ):
        assert finished.returncode == 0, finished.stderr
        made, q = msgspec.json.decode(finished.stdout, type=Experiment), found.question
        assert (made.primary_metric, made.unit_kind, made.coverage) == (q.metric, q.unit_kind, q.coverage)
        assert (made.alpha, made.power, made.minimum_effect) == (q.alpha, q.power, q.effect)
        assert tuple(one.weight for one in made.variants) == q.weights
        assert (made.decided_by, made.planned_days, made.minimum_units) == (q.method, found.advised_days, 30)
        assert made.planned_units == (found.advised_units if q.method == "always valid" else None)
        assert (made.looks, made.spending) == (q.looks, q.spending)
        assert made.pre_days == (21 if q.correlation else 0)


def test_what_cannot_be_planned_is_told_with_a_way_out(answers: tuple[list[Finished], list[Finished]]) -> None:
    for finished, what, way in zip(
        answers[0][3:12],
        ["no tenant was active", "is a quantile", "no such metric", "the effect must lie above 0", "--effect is no",
         "no such method", "whole days", "--arms is from 2 to 50", "no user was active"],
        ["the tag tenant_id", "response_time.mean", "accuracy", "relative change", "5% or 0.05", "always-valid", "28d",
         "0.6,0.2,0.2", "user_id"],
        strict=True,
    ):  # fmt: skip
        assert finished.returncode == Exit.INPUT, finished.stderr
        assert what in finished.stderr
        assert way in finished.stderr


def test_its_help_teaches(answers: tuple[list[Finished], list[Finished]]) -> None:
    told = answers[0][-1].stdout
    assert "barograph experiment plan --metric accuracy --effect 2%" in told
    assert "who comes back is no new user" in told
