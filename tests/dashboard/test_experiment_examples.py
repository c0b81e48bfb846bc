"""The same question, both answers: what the page of an experiment says of examples, and that no text breaks it.

After a wanted change: ``python -m tests.dashboard.test_experiment_examples`` writes the golden files; look at them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.dashboard.drawn import HOSTILE, check_harmless, plain, text_of
from tests.dashboard.rag_house import NOW, QUESTIONS, VECTORS, House
from tests.dashboard.test_experiments_page import LOOKS
from tests.support.dictionary_reader import Record

from barograph.core.shared_questions import LONGEST_ANSWER, ArmAnswer, SharedQuestion
from barograph.dashboard.page.experiments.examples import LONGEST_SHOWN, example_parts
from barograph.dashboard.pages import build_page
from barograph.experiments.design import Experiment, equal_variants
from barograph.experiments.examples import MOST_EXAMPLES, Examples
from barograph.visualize.charset import CHARSETS, CharsetName
from barograph.visualize.chart import Page
from barograph_client.errors import EngineUnavailable, InvalidExperiment

GOLDEN = Path(__file__).parent / "golden"


def answer(arm: str, value: float | None, said: str, **changed: object) -> ArmAnswer:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736" if arm == "old" else "00f067aa0ba902b7a3ce929d0e0e4736"
    made = ArmAnswer(
        arm=arm, time=datetime(2026, 11, 24, 11, 12, tzinfo=UTC), event_id="event", trace_id=trace, answer=said,
        status="ok", error_type="", response_time=1.25, value=value,
    )  # fmt: skip
    return replace(made, **changed)


def examples(**changed: object) -> Examples:
    """A rating that differs, an answer that failed, a question of which little is recorded."""
    questions = (
        SharedQuestion(question=QUESTIONS[1], answers=(
            answer("old", 2, "Write to the support, which makes a new key for you. " * 20),
            answer("new", 5, "Open Settings, then API keys, and choose\n\n\tRotate. The old key works for 24 hours."),
        )),
        SharedQuestion(question=QUESTIONS[5], answers=(
            answer("old", 4, "", status="error", error_type="Timeout", response_time=30.0),
            answer("new", 3, "設定 > アラート"),
        )),
        SharedQuestion(question="x" * 300, answers=(
            answer("old", None, "x", trace_id="", response_time=None), answer("new", None, "y", response_time=0.5),
        )),
    )  # fmt: skip
    made = Examples(
        experiment="vector-db", metric="satisfaction", title="User satisfaction", unit="rating", questions=questions,
        sentence="3 questions that were asked in more than one arm, those first whose answers differ most (User "
        "satisfaction).", complete_to=NOW, warnings=("queries that arrived up to 2026-11-17 were retired.",),
    )  # fmt: skip
    return replace(made, **changed)


def drawn(found: Examples, charset: CharsetName = "unicode", width: int = 80) -> str:
    return text_of(Page(title="Vector DB comparison", parts=example_parts(found)), charset, width)


# what it says


@pytest.mark.parametrize(("charset", "width"), LOOKS)
def test_examples_look_as_they_did(charset: CharsetName, width: int) -> None:
    written = (GOLDEN / f"experiment-examples-{charset}-{width}.txt").read_text(encoding="utf-8")
    assert drawn(examples(), charset, width) + "\n" == written


@pytest.mark.parametrize("width", [60, 80])
def test_an_id_that_is_to_be_typed_is_shown_whole_beside_an_error_too(width: int) -> None:
    named = "01a22540-6d4f-72ef-9d3e-5a0f1b2c3d4e"
    (one, *_) = examples().questions
    failed = answer("old", 2, "", status="error", error_type="Timeout", trace_id="", event_id=named)
    text = drawn(examples(questions=(replace(one, answers=(failed, one.answers[1])),)), width=width)
    assert named in text
    assert "old (error: Timeout): no text recorded" in text


def test_without_questions_there_is_a_sentence() -> None:
    text = plain(drawn(examples(questions=(), sentence="None of 7 questions was asked in more than one arm.")))
    assert "Same question, both answers" in text
    assert "None of 7 questions was asked in more than one arm. Mind: queries that arrived" in text
    assert "barograph trace" not in text


def test_where_no_answer_is_recorded_that_is_said_once() -> None:
    bare = [replace(one, answers=tuple(replace(a, answer=" ") for a in one.answers)) for one in examples().questions]
    text = drawn(examples(questions=tuple(bare)))
    assert text.count("No answer's text is recorded.") == 1
    assert "old:" not in text


def test_a_goal_that_is_the_response_time_is_no_second_column() -> None:
    same = [
        replace(one, answers=tuple(replace(a, value=a.response_time) for a in one.answers))
        for one in examples().questions
    ]
    text = drawn(examples(questions=tuple(same), unit="s", title="Average response time"))
    assert "Average response time" not in text
    assert "1.25 s" in text


def test_several_arms_have_an_answer_each() -> None:
    (one, *_) = examples().questions
    more = replace(one, answers=(*one.answers, answer("newer", 1, "No.")))
    text = drawn(examples(questions=(more,)))
    assert "Same question, an answer of each arm" in text
    assert "newer: No." in text


# what cannot break it


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("width", [20, 60, 80])
def test_hostile_questions_and_answers_cannot_act_and_nothing_is_too_wide(charset: CharsetName, width: int) -> None:
    said = answer(HOSTILE, 1.0, HOSTILE * 40, status=HOSTILE, error_type=HOSTILE, trace_id=HOSTILE, event_id=HOSTILE)
    asked = SharedQuestion(question=HOSTILE, answers=(said, said))
    found = examples(questions=(asked, asked), sentence=HOSTILE, warnings=(HOSTILE,), title=HOSTILE, unit=HOSTILE)
    check_harmless(Page(title="", parts=example_parts(found)), charset, width)


def test_a_long_answer_is_cut_off() -> None:
    said = "word " * (LONGEST_ANSWER // 5)
    asked = SharedQuestion(question="?", answers=(answer("old", 1, said), answer("new", 2, said)))
    text = plain(drawn(examples(questions=(asked,)), width=200))
    assert text.count("word…") == 2
    assert text.count("word") < 2 * LONGEST_SHOWN / 5 + 2


# what is asked


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def asked(house: House, texts: list[str], *, rating: int = 0, said: str = "Like this.") -> None:
    """Each of two users, who are in different arms, asks all of it."""
    arms = {house.experiments.assign(VECTORS.key, f"user-{n}"): f"user-{n}" for n in range(9)}
    for number, text in enumerate(texts):
        for arm, user in arms.items():
            house.clock.step(1.0)
            known: Record = {"trace_id": f"{arm}-{number}-{len(house.events)}", "user_id": user,
                             "time": house.clock.now()}  # fmt: skip
            house.experiments.expose(VECTORS.key, user)
            house.events.append({"kind": "query", "event_id": f"q-{known['trace_id']}", "query": text, "status": "ok",
                                 "answer": said, "response_time": 1.0 + number, **known})  # fmt: skip
            if rating and arm == "new":
                house.events.append({"kind": "feedback", "event_id": f"f-{number}", "rating": rating, **known})
            if rating and arm == "old":
                value = 1 + number % 5
                house.events.append({"kind": "feedback", "event_id": f"g-{number}", "rating": value, **known})


def begun(house: House, experiment: Experiment = VECTORS) -> None:
    house.experiments.create(experiment)
    house.experiments.start(experiment.key)
    house.reader.complete_to = None


def test_the_sentence_says_why_there_are_no_examples(house: House) -> None:
    begun(house)
    assert house.experiments.examples(VECTORS.key).sentence == "No user has asked anything since the exposure."
    asked(house, ["", " \n"])
    assert (
        house.experiments.examples(VECTORS.key).sentence == "No text is recorded of the 4 queries since the exposures."
    )
    for arm, text in (("old", "one"), ("new", "other")):
        events = len(house.events)
        asked(house, [text])
        kept = [event for event in house.events[events:] if arm in str(event.get("trace_id"))]
        house.events[events:] = kept
    found = house.experiments.examples(VECTORS.key)
    assert (found.questions, found.sentence) == ((), "None of 2 questions was asked in more than one arm.")


def test_the_sentence_says_how_examples_were_chosen(house: House) -> None:
    begun(house)
    asked(house, ["one"])
    assert house.experiments.examples(VECTORS.key).sentence == "One question was asked in more than one arm."
    asked(house, ["two"])
    found = house.experiments.examples(VECTORS.key)
    assert found.sentence == "2 questions that were asked in more than one arm, the newest first."
    assert [one.question for one in found.questions] == ["two", "one"]
    asked(house, ["three", "four", "five"], rating=5)
    found = house.experiments.examples(VECTORS.key)
    assert [one.question for one in found.questions] == ["three", "four", "five", "two", "one"]
    assert [a.value for a in found.questions[0].answers] == [1.0, 5.0]
    assert found.sentence.endswith("arm, those first whose answers differ most (User satisfaction).")
    asked(house, [f"more {n}" for n in range(MOST_EXAMPLES)])
    found = house.experiments.examples(VECTORS.key)
    assert len(found.questions) == MOST_EXAMPLES
    assert found.sentence.endswith("chosen for that, they show no usual difference.")
    assert [a.arm for a in found.questions[0].answers] == ["old", "new"]  # the control's first


def test_what_came_after_the_planned_end_is_no_example(house: House) -> None:
    begun(house, replace(VECTORS, planned_days=1.0))
    asked(house, ["in time"])
    house.clock.step(timedelta(days=1).total_seconds())
    asked(house, ["too late"])
    assert [one.question for one in house.experiments.examples(VECTORS.key).questions] == ["in time"]


def test_rankers_of_one_list_have_no_answers_of_their_own(house: House) -> None:
    begun(house, Experiment(key="ranking", kind="interleaving", variants=equal_variants("bm25", "dense")))
    found = house.experiments.examples("ranking")
    assert found.questions == ()
    assert found.sentence == "Each answer is made of passages of all rankers, so that no user saw one alone."


def test_an_experiment_that_never_started_has_none(house: House) -> None:
    house.experiments.create(VECTORS)
    with pytest.raises(InvalidExperiment):
        house.experiments.examples(VECTORS.key)


def test_the_page_of_one_experiment_ends_with_examples_that_may_fail_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(house)
    asked(house, list(QUESTIONS), rating=5)
    text = text_of(build_page("experiments", house.material(), experiment=VECTORS.key))
    assert text.index("By other methods") < text.index("Same question, both answers") < text.index("old: Like this.")
    assert QUESTIONS[5] in text

    def refuse(key: str) -> Examples:
        raise EngineUnavailable("the engine does not answer")

    monkeypatch.setattr(house.experiments, "examples", refuse)
    again = text_of(build_page("experiments", house.material(), experiment=VECTORS.key))
    assert "By other methods" in again
    assert again.rstrip().endswith("Not answered: the engine does not answer")


if __name__ == "__main__":
    for kind, cells in LOOKS:
        path = GOLDEN / f"experiment-examples-{kind}-{cells}.txt"
        path.write_text(drawn(examples(), kind, cells) + "\n", encoding="utf-8")
