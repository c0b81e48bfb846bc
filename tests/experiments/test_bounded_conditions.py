"""Conditions that a server evaluates apart: the same answers as everywhere, in a bounded time whatever they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from tests.oracles.test_growthbook import CASES

from barograph.core.metric import Catalogue
from barograph.experiments import bounded_conditions
from barograph.experiments.assignment_checks import LONGEST_CONDITION
from barograph.experiments.bounded_conditions import SHORT, BoundedConditions, EvaluatedApart, at_once
from barograph.experiments.design import Experiment, equal_variants, validated
from barograph_client.errors import ConditionUndecided, InvalidExperiment
from barograph_client.experiments.conditions import compiled
from barograph_client.experiments.definition import Arm, Definition

BACKTRACKS = {"mail": {"$regex": "^(a|a)+$"}}
HOSTILE = {"mail": "a" * 60 + "!"}


@pytest.fixture
def conditions() -> Iterator[BoundedConditions]:
    made = BoundedConditions()
    yield made
    made.close()


def definition(condition: dict[str, Any], groups: dict[str, list[Any]] | None = None) -> Definition:
    return Definition(
        key="mails", arms=(Arm(key="a", weight=1.0),), salt="s", unit_kind="unit", condition=condition,
        groups=groups or {},
    )  # fmt: skip


def fits(conditions: BoundedConditions, asked: Definition, attributes: dict[str, Any]) -> bool:
    return conditions.within(60)(asked).decide({"unit": "u"}, attributes).in_experiment


def processes() -> list[psutil.Process]:
    alive = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in alive if "bounded_process" in " ".join(one.cmdline())]


def test_the_cases_of_growthbook_have_the_same_answers_apart(conditions: BoundedConditions) -> None:
    long: dict[str, list[Any]] = {"of no use": ["x" * SHORT]}
    asked = [case for case in CASES["evalCondition"] if case[1]]
    for _, condition, attributes, expected, *groups in asked:
        assert (
            fits(conditions, definition(condition, {**long, **(groups[0] if groups else {})}), attributes) is expected
        )
    assert (conditions.asked, conditions.undecided) == (len(asked), 0)
    assert len(asked) > 240


@pytest.mark.parametrize("pattern", [r"^\w+$", "(?i)^ı", r"\s", r"(?<!x)é"])
def test_patterns_are_those_of_the_programs_letter_by_letter(conditions: BoundedConditions, pattern: str) -> None:
    for value in ("e\u0301", "i", "ı", "\x1c", "é", "xé", "用户", "\ud800"):
        condition, attributes = {"name": {"$regex": pattern}}, {"name": value}
        assert fits(conditions, definition(condition), attributes) is compiled(condition)(attributes), value


def test_what_takes_too_long_is_given_up_and_the_next_one_is_answered(conditions: BoundedConditions) -> None:
    began = time.process_time()
    with pytest.raises(ConditionUndecided, match=r"condition of mails is not known: it takes more than 0\.25 s of CPU"):
        fits(conditions, definition(BACKTRACKS), HOSTILE)
    assert time.process_time() - began < 0.2  # none of it here
    assert fits(conditions, definition(BACKTRACKS), {"mail": "aaa"})
    assert (conditions.asked, conditions.undecided) == (2, 1)
    assert len(processes()) == 1


def test_long_lists_in_each_other_are_bounded_as_patterns_are(conditions: BoundedConditions) -> None:
    every = {"scores": {"$all": [1] * (LONGEST_CONDITION // 4)}}
    with pytest.raises(ConditionUndecided):
        fits(conditions, definition(every), {"scores": [0] * 8_000 + [1]})


def test_all_conditions_of_a_request_have_a_time_together_and_cheap_ones_need_none_of_it(
    conditions: BoundedConditions,
) -> None:
    made = conditions.within(0.2)  # less than the first takes
    with pytest.raises(ConditionUndecided, match=r"0\.25 s of CPU"):
        made(definition(BACKTRACKS)).decide({"unit": "u"}, HOSTILE)
    with pytest.raises(ConditionUndecided, match="all the time there is"):
        made(definition(BACKTRACKS)).decide({"unit": "u"}, {"mail": "a"})
    assert made(definition({"mail": "a"})).decide({"unit": "u"}, {"mail": "a"}).in_experiment
    assert (conditions.asked, conditions.undecided) == (2, 2)


def test_nobody_waits_longer_for_others_than_that_time(conditions: BoundedConditions) -> None:
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(fits, conditions, definition(BACKTRACKS), HOSTILE)
        while not processes():
            time.sleep(0.001)
        with pytest.raises(ConditionUndecided, match="all the time there is"):
            conditions.within(0.05)(definition(BACKTRACKS)).decide({"unit": "u"}, {"mail": "a"})
        with pytest.raises(ConditionUndecided, match="of CPU"):
            other.result()


def test_a_condition_is_nested_no_deeper_than_what_reads_it() -> None:
    deep: dict[str, Any] = {"plan": "paid"}
    for _ in range(70):
        deep = {"plan": deep}
    with pytest.raises(InvalidExperiment, match="64 levels") as refused:
        validated(
            Experiment(key="deep", variants=equal_variants("a", "b"), condition=deep, primary_metric="accuracy"),
            Catalogue(),
        )
    assert refused.value.field == "condition"


def test_short_conditions_without_patterns_start_no_process(conditions: BoundedConditions) -> None:
    assert fits(conditions, definition({"plan": {"$in": ["paid", "trial"]}}), {"plan": "paid"})
    assert fits(conditions, definition({}), {})
    assert (conditions.asked, processes()) == (0, [])


def test_where_nobody_may_wait_short_conditions_are_decided_and_the_others_not_asked() -> None:
    assert at_once(definition({"plan": "paid"})).decide({"unit": "u"}, {"plan": "paid"}).in_experiment
    with pytest.raises(EvaluatedApart):
        at_once(definition(BACKTRACKS)).decide({"unit": "u"}, HOSTILE)
    assert processes() == []


def test_a_process_that_is_gone_is_told_and_replaced(conditions: BoundedConditions) -> None:
    assert fits(conditions, definition(BACKTRACKS), {"mail": "a"})
    (beside,) = processes()
    beside.kill()
    with pytest.raises(ConditionUndecided, match="its process has ended"):
        fits(conditions, definition(BACKTRACKS), {"mail": "a"})
    assert fits(conditions, definition(BACKTRACKS), {"mail": "a"})
    conditions.close()
    assert processes() == []


def test_a_process_that_does_not_answer_is_waited_for_no_longer_than_its_patience(
    conditions: BoundedConditions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_conditions, "PATIENCE", 1.0)
    assert not fits(conditions, definition(BACKTRACKS), {"mail": "b"})
    (beside,) = processes()
    os.kill(beside.pid, signal.SIGSTOP)
    with pytest.raises(ConditionUndecided, match="does not answer"):
        fits(conditions, definition(BACKTRACKS), {"mail": "a"})
    assert processes() == []


def test_one_that_cannot_be_started_is_told(conditions: BoundedConditions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ConditionUndecided, match="/nowhere/python"):
        fits(conditions, definition(BACKTRACKS), {"mail": "a"})


def test_threads_get_each_its_own_answer(conditions: BoundedConditions) -> None:
    values = ["a" * number + ("" if number % 3 else "!") for number in range(1, 16)] * 10
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda value: fits(conditions, definition(BACKTRACKS), {"mail": value}), values))
    assert told == ["!" not in value for value in values]


def test_the_process_loads_the_standard_library_and_the_conditions_alone() -> None:
    code = (
        "import sys, barograph.experiments.bounded_process; print(*(one for one in sys.modules if 'barograph' in one))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-S", "-c", f"{code}; assert not {{'msgspec', 'numpy'}} & {{*sys.modules}}"]
    loaded = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert sorted(loaded) == [
        "barograph", "barograph.experiments", "barograph.experiments.bounded_process", "barograph_client",
        "barograph_client.experiments", "barograph_client.experiments.comparisons",
        "barograph_client.experiments.conditions",
    ]  # fmt: skip


def test_it_ends_with_the_process_that_asked() -> None:
    code = (
        "from tests.experiments.test_bounded_conditions import *\n"
        "made = BoundedConditions()\n"
        "fits(made, definition(BACKTRACKS), {'mail': 'a'})\n"
        "print(processes()[0].pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    with_it = int(ended.stdout)
    for _ in range(200):
        if not psutil.pid_exists(with_it) or psutil.Process(with_it).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.01)
    else:
        pytest.fail("the process beside goes on without the one that asked")
