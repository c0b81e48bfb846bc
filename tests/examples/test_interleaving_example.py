"""Interleaving on FeedbackQA: the example tells the better retriever, and needs fewer queries than an A/B test."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from bench.validity import interleaving


@pytest.fixture(scope="module")
def program() -> ModuleType:
    return interleaving.example()


@pytest.fixture(scope="module")
def asked(program: ModuleType) -> list[Any]:
    return list(program.load())


def test_the_program_prints_which_is_better_and_how_many_readers_it_took(
    program: ModuleType, asked: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "load", lambda: asked)
    monkeypatch.setattr(program, "COURSES", 2)
    program.main()
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.count("bm25 is better in 2 of 2") == 2
    medians = [int(line.split("median")[1].replace(",", "")) for line in printed.splitlines() if "median" in line]
    assert medians[0] < medians[1]


def test_interleaving_needs_fewer_queries_at_equal_power(program: ModuleType, asked: list[Any]) -> None:
    found = interleaving.judged(program, asked, readers=2)
    assert found.preference.mean() > 0
    assert all(arm.mean() > control.mean() for arm, control in found.gains.values())
    times = interleaving.factors(found, resamples=200)
    assert times[interleaving.USUAL][1] > 1
    assert min(one[0] for one in times.values()) > 1
    by_size = {one.decided_by: one.power for one in interleaving.needed(found, 20)}
    assert by_size["mean preference"][3] > by_size[interleaving.USUAL][3]


def test_without_a_preference_none_is_found_by_user_and_one_is_by_query() -> None:
    lines = interleaving.without_preference(150)
    assert not [line.name for line in lines if line.fails]
    assert {line.name for line in lines if line.rate.exceeds()} == {line.name for line in lines if not line.claims}
