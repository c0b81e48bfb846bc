"""The demo's replay says what its data says: no request, token or rating more or less, and nothing twice."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import resources
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from genai_prices import Usage, calc_price
from msgspec import structs

from barograph.core.event import KINDS
from barograph.core.metric import Catalogue
from barograph.demo import replay, timing
from barograph.demo.dataset import load_feedback, load_trace
from barograph.demo.replay import EXPERIMENT, MODELLED, RATINGS, Replay, excerpt
from barograph.experiments.assignment import definition_of
from barograph.experiments.design import Experiment, equal_variants, validated
from barograph.stats.sample_ratio import sample_ratio
from barograph_client.clock import ManualClock
from barograph_client.experiments.assignment import Assigner

END = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)
Events = list[tuple[str, dict[str, Any]]]


def arm(user: str) -> str:
    return "AB"[int(user[-1]) % 2]


@pytest.fixture(scope="module")
def events() -> Events:
    return list(Replay(7, assign=arm).events(END))


@pytest.fixture(scope="module")
def queries(events: Events) -> list[dict[str, Any]]:
    return [event for kind, event in events if kind == "query"]


@pytest.fixture(scope="module")
def feedback(events: Events) -> list[dict[str, Any]]:
    return [event for kind, event in events if kind == "feedback"]


class TestData:
    def test_the_shipped_data_is_the_published_data(self) -> None:
        trace, said = load_trace(), load_feedback()
        assert len(trace.offsets) == 19_366
        assert (int(trace.input_tokens.sum()), int(trace.output_tokens.sum())) == (22_361_870, 4_088_665)
        assert trace.began == datetime(2023, 11, 16, 18, 15, 46, 680590, tzinfo=UTC)
        assert trace.began + timedelta(microseconds=trace.microseconds) == datetime(
            2023, 11, 16, 19, 14, 8, 402527, tzinfo=UTC
        )
        words = Counter(word for q in said.questions for a in q.answers for word, _ in a.ratings)
        assert words == {"Bad": 3161, "Excellent": 2715, "Acceptable": 1511, "Could be Improved": 1418}
        assert (len(said.questions), len(said.passages)) == (1135, 1775)

    def test_the_shipped_data_is_small_and_names_its_makers(self) -> None:
        folder = resources.files("barograph.demo").joinpath("data")
        assert sum(len(file.read_bytes()) for file in folder.iterdir()) < 3_000_000
        notice = (Path(__file__).parents[2] / "NOTICE").read_text(encoding="utf-8")
        for text in (folder.joinpath("README.md").read_text(encoding="utf-8"), notice):
            for name in ("Azure LLM inference trace 2023", "Splitwise", "FeedbackQA", "McGill-NLP", "CC BY 4.0"):
                assert name in text


class TestEvents:
    def test_every_request_is_played_once_with_the_trace_s_tokens(self, queries: list[dict[str, Any]]) -> None:
        trace = load_trace()
        assert [q["input_tokens"] for q in queries] == trace.input_tokens.tolist()
        assert [q["output_tokens"] for q in queries] == trace.output_tokens.tolist()

    def test_every_rating_is_played_once_with_its_comment(self, feedback: list[dict[str, Any]]) -> None:
        real = Counter(
            (RATINGS[word], comment)
            for q in load_feedback().questions
            for a in q.answers
            for word, comment in a.ratings
        )
        assert Counter((f["rating"], f["comment"]) for f in feedback) == real
        assert len(feedback) == 8805 == Replay(7).ratings

    def test_a_rating_is_about_the_answer_that_people_rated(
        self, queries: list[dict[str, Any]], feedback: list[dict[str, Any]]
    ) -> None:
        said = load_feedback()
        rated = {
            (q.domain, q.question, said.passages[a.passage].id): {(RATINGS[w], c) for w, c in a.ratings}
            for q in said.questions
            for a in q.answers
        }
        by_trace = {q["trace_id"]: q for q in queries}
        for given in feedback:
            query = by_trace[given["trace_id"]]
            answer = next(d["id"] for d in query["documents"] if d["cited"])
            assert (given["rating"], given["comment"]) in rated[query["pipeline"], query["query"], answer]
            assert given["user_id"] == query["user_id"]
            assert given["session_id"] == query["session_id"]
            assert given["time"] > query["time"] + timedelta(seconds=query["response_time"])

    def test_documents_are_the_question_s_passages_and_one_is_the_answer(self, queries: list[dict[str, Any]]) -> None:
        said = load_feedback()
        passages = {p.id: p for p in said.passages}
        asked = {q.question: [said.passages[a.passage].id for a in q.answers] for q in said.questions}
        for query in queries[::97]:
            assert [d["id"] for d in query["documents"]] == asked[query["query"]]
            assert [d["rank"] for d in query["documents"]] == [1, 2, 3]
            (cited,) = [d for d in query["documents"] if d["cited"]]
            source = passages[cited["id"]]
            assert " ".join(source.text.split()).startswith(query["answer"].removesuffix("…"))
            assert cited["source"] == source.uri
            assert query["tags"] == {"page": source.title}

    def test_time_is_the_trace_s_time_stretched_evenly(self, events: Events, queries: list[dict[str, Any]]) -> None:
        trace = load_trace()
        start, last = queries[0]["time"], queries[-1]["time"]
        assert start == END - timedelta(days=7)
        assert abs(last - (END - replay.MARGIN)) <= timedelta(milliseconds=1)
        for i in range(0, len(queries), 501):
            share = int(trace.offsets[i]) / trace.microseconds
            assert abs((queries[i]["time"] - start) - (last - start) * share) < timedelta(milliseconds=1)
        times = [event["time"] for _, event in events]
        assert all(a <= b for a, b in pairwise(times))
        assert times[-1] <= END

    def test_events_have_the_fields_of_their_kinds_and_no_error_is_invented(self, events: Events) -> None:
        for kind, event in events[::11]:
            whole = msgspec.convert({"kind": kind, **event}, KINDS[kind])
            assert not set(event) - set(type(whole).__struct_fields__)
        assert not any("status" in event or "error_type" in event for _, event in events)
        assert Counter(kind for kind, _ in events).keys() == {"annotation", "exposure", "query", "feedback"}

    def test_what_the_data_does_not_have_is_marked_as_modelled(self, queries: list[dict[str, Any]]) -> None:
        for query in queries[::501]:
            assert query["modelled"] == MODELLED
            assert {*timing.FIELDS, "user_id", "session_id"} == set(MODELLED)

    def test_modelled_times_follow_the_stated_formula(self, queries: list[dict[str, Any]]) -> None:
        for query in queries:
            assert query["response_time"] == pytest.approx(query["retrieval_time"] + query["generation_time"], abs=2e-4)
            assert query["retrieval_time"] < query["time_to_first_token"] <= query["response_time"]
        ratios = sorted(q["generation_time"] / without_noise(q["input_tokens"], q["output_tokens"]) for q in queries)
        assert ratios[len(ratios) // 2] == pytest.approx(1.0, abs=0.02)
        retrieval = sorted(q["retrieval_time"] for q in queries)
        assert retrieval[len(retrieval) // 2] == pytest.approx(timing.RETRIEVAL_SECONDS, rel=0.03)

    def test_cost_is_what_the_price_list_says_for_that_day(self, queries: list[dict[str, Any]]) -> None:
        for query in queries[::733]:
            price = calc_price(
                Usage(input_tokens=query["input_tokens"], output_tokens=query["output_tokens"]),
                model_ref=query["model"],
                provider_id=query["provider"],
                genai_request_timestamp=query["time"],
            )
            assert query["cost"] == float(price.total_price) > 0

    def test_cost_changes_on_the_day_on_which_the_price_changed(self) -> None:
        change = datetime(2026, 10, 19, tzinfo=UTC)  # this listing went from $0.88 to $1.04 a million tokens
        player = Replay(model="meta-llama/Llama-3.3-70B-Instruct", provider="huggingface_together")
        played = [event for kind, event in player.events(change + timedelta(days=1), days=2) if kind == "query"]
        prices = {
            (q["time"] >= change, round(Decimal(q["cost"]) * 10**6 / (q["input_tokens"] + q["output_tokens"]), 4))
            for q in played
        }
        assert prices == {(False, Decimal("0.8800")), (True, Decimal("1.0400"))}

    def test_users_have_a_heavy_tail_and_visits_belong_to_one_user(self, queries: list[dict[str, Any]]) -> None:
        counts = sorted(Counter(q["user_id"] for q in queries).values(), reverse=True)
        assert 1000 < len(counts) <= replay.USERS
        assert counts[0] < 0.02 * len(queries)
        assert sum(counts[: len(counts) // 10]) > 0.3 * len(queries)
        owners: dict[str, set[str]] = {}
        for query in queries:
            owners.setdefault(query["session_id"], set()).add(query["user_id"])
        assert all(len(users) == 1 for users in owners.values())
        assert 2 < len(queries) / len(owners) < 3


class TestExperiment:
    def test_each_user_is_exposed_once_before_the_first_query(self, events: Events) -> None:
        seen: dict[str, str] = {}
        for kind, event in events:
            if kind == "exposure":
                assert event["unit_id"] not in seen
                assert (event["experiment"], event["unit_kind"]) == (EXPERIMENT, "user")
                seen[event["unit_id"]] = event["arm"]
            elif kind == "query":
                assert event["variants"] == {EXPERIMENT: seen[event["user_id"]]}
                assert seen[event["user_id"]] == arm(event["user_id"])

    def test_the_users_who_come_are_split_as_an_ordinary_chance_does(self) -> None:
        users = {event["user_id"] for kind, event in Replay().events(END) if kind == "query"}
        drawn = Experiment(key=EXPERIMENT, variants=equal_variants("A", "B"), primary_metric="satisfaction")
        made = validated(drawn, Catalogue())
        deal = Assigner(structs.replace(definition_of(made), state="running"))
        got = Counter(deal.decide({"user": user}).arm for user in users)
        assert got == {"A": 886, "B": 909}
        assert sample_ratio([886, 909], [0.5, 0.5]).p_value > 0.2

    def test_a_user_outside_the_experiment_has_no_arm(self) -> None:
        player = Replay(assign=lambda user: None if user.endswith("3") else "A")
        for kind, event in islice(player.events(END), 500):
            if kind == "query":
                assert ("variants" in event) != event["user_id"].endswith("3")
            assert kind != "exposure" or not event["unit_id"].endswith("3")

    def test_without_an_assignment_there_is_no_experiment(self) -> None:
        kinds = {kind for kind, event in islice(Replay().events(END), 500) if "variants" not in event}
        assert kinds == {"annotation", "query", "feedback"}


class TestDeterminism:
    def test_the_same_seed_and_end_give_the_same_events_in_another_process(self, events: Events) -> None:
        code = (
            "import hashlib, msgspec; from datetime import datetime; from barograph.demo.replay import Replay; "
            f"events = Replay(7, assign=lambda u: 'AB'[int(u[-1]) % 2]).events(datetime.fromisoformat('{END}')); "
            "print(hashlib.sha256(msgspec.json.encode(list(events))).hexdigest())"
        )
        environment = {**os.environ, "PYTHONHASHSEED": "99"}
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, timeout=120
        ).stdout.strip()
        assert other == hashlib.sha256(msgspec.json.encode(events)).hexdigest()

    def test_ids_are_unique_version_7_and_begin_with_the_time(self, events: Events) -> None:
        assert len({event["event_id"] for _, event in events}) == len(events)
        for _, event in events[::50]:
            assert event["event_id"][14] == "7"
            stamp = int(event["event_id"].replace("-", "")[:12], 16)
            assert stamp == math.floor(event["time"].timestamp() * 1000 + 1e-6)

    def test_another_seed_or_end_gives_other_ids(self, events: Events) -> None:
        known = {event["event_id"] for _, event in events} | {e["trace_id"] for _, e in events if "trace_id" in e}
        for other in (Replay(8).events(END), Replay(7).events(END + timedelta(seconds=1))):
            for _, event in islice(other, 200):
                assert event["event_id"] not in known
                assert event.get("trace_id") not in known


class TestLive:
    def test_live_waits_for_each_event_s_time_at_the_trace_s_speed(self) -> None:
        clock = ManualClock(END)
        trace = load_trace()
        for i, (now, query) in enumerate(self.queries(clock, 300)):
            assert query["time"] == END + timedelta(microseconds=int(trace.offsets[i]))
            assert now >= query["time"]
            assert now - query["time"] < timedelta(milliseconds=1)

    def test_live_goes_on_after_the_hour_with_new_ids(self) -> None:
        ids = [query["event_id"] for _, query in self.queries(ManualClock(END), 19_500)]
        assert len(set(ids)) == 19_500

    def test_live_ends_when_it_is_told_to(self) -> None:
        stop = threading.Event()
        stream = Replay().live(ManualClock(END), stop)
        next(stream)
        stop.set()
        assert list(stream) == []

    @staticmethod
    def queries(clock: ManualClock, n: int) -> Iterator[tuple[datetime, dict[str, Any]]]:
        """The first queries, each with the time at which it was handed out."""
        played = ((clock.now(), event) for kind, event in Replay().live(clock) if kind == "query")
        return islice(played, n)


class TestExcerpt:
    def test_an_excerpt_is_one_line_no_longer_than_asked_and_cut_at_a_word(self) -> None:
        assert excerpt("one\ntwo  three", 20) == "one two three"
        assert excerpt("one two three", 9) == "one two…"
        assert excerpt("abcdefghij", 5) == "abcd…"
        assert all(len(excerpt("ab cd " * 9, n)) <= n for n in range(3, 60))


def without_noise(input_tokens: int, output_tokens: int) -> float:
    """Seconds to generate, from the published figures alone."""
    first = 0.12653 + (input_tokens - 500) * (0.5467 - 0.12653) / 4500
    return first + 0.02183 * (output_tokens - 1)
