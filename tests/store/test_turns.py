"""Turns: whoever changes is alone, and nobody waits for ever."""

from __future__ import annotations

import random
import threading
import time

import pytest

from barograph.store.turns import Turns

PATIENCE = 20.0  # seconds, on a machine that does much else


def test_a_change_is_never_together_with_anybody() -> None:
    turns, lock, done = Turns(), threading.Lock(), threading.Event()
    inside = {"reading": 0, "changing": 0}
    most, wrong = {"reading": 0}, []

    def work(seed: int, what: str) -> None:
        chance = random.Random(seed)
        while not done.is_set():
            with turns.reading() if what == "reading" else turns.changing():
                with lock:
                    inside[what] += 1
                    most["reading"] = max(most["reading"], inside["reading"])
                    if inside["changing"] > 1 or (inside["changing"] and inside["reading"]):
                        wrong.append(dict(inside))
                time.sleep(chance.random() * 0.002)
                with lock:
                    inside[what] -= 1
            counted[what] += 1

    counted = {"reading": 0, "changing": 0}
    threads = [
        threading.Thread(target=work, args=(n, what)) for n, what in enumerate(["reading"] * 4 + ["changing"] * 2)
    ]
    for thread in threads:
        thread.start()
    limit = time.monotonic() + PATIENCE
    while min(counted["reading"] / 4, counted["changing"]) < 40 and time.monotonic() < limit:
        time.sleep(0.01)
    done.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert not wrong
    assert most["reading"] > 1
    assert min(counted["reading"] / 4, counted["changing"]) >= 40


@pytest.mark.parametrize(("crowd", "how_many", "one"), [("reading", 4, "changing"), ("changing", 2, "reading")])
def test_a_crowd_without_pause_does_not_keep_the_other_kind_waiting(crowd: str, how_many: int, one: str) -> None:
    turns, done, got_in = Turns(), threading.Event(), threading.Event()

    def keep_at_it() -> None:
        while not done.is_set():
            with getattr(turns, crowd)():
                time.sleep(0.001)

    def ask_for_turns() -> None:
        for _ in range(20):
            with getattr(turns, one)():
                pass
        got_in.set()

    for work in [keep_at_it] * how_many + [ask_for_turns]:
        threading.Thread(target=work, daemon=True).start()
    assert got_in.wait(PATIENCE)
    done.set()


@pytest.mark.parametrize("what", ["reading", "changing"])
def test_what_is_raised_within_a_turn_ends_it(what: str) -> None:
    turns = Turns()
    for _ in range(2):
        with pytest.raises(KeyError), turns.reading() if what == "reading" else turns.changing():
            raise KeyError
    with turns.changing():
        pass


def test_who_is_interrupted_while_waiting_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, waiting, told = Turns(), threading.Event(), threading.Event()

    def interrupted(condition: object) -> None:
        waiting.set()
        while not told.is_set():  # gives the lock up, as waiting does
            turns._changed.wait(0.01)
        raise KeyboardInterrupt

    def read() -> None:
        with pytest.raises(KeyboardInterrupt), turns.reading():
            pass

    def change() -> None:
        with turns.changing():
            changed.set()

    changed = threading.Event()
    with turns.changing():
        with monkeypatch.context() as patch:
            patch.setattr(turns._changed, "wait_for", interrupted)
            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            assert waiting.wait(PATIENCE)
        changer = threading.Thread(target=change, daemon=True)
        changer.start()
    told.set()
    assert changed.wait(PATIENCE)
    with turns.reading():
        pass
