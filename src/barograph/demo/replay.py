"""The replay: one real hour of requests, played as if over the last seven days, or on at its real speed.

Reads the packed data (``dataset``), models what the data does not have (``timing``) and yields the callers' events
as (kind, dictionary) pairs in the order of time, ready to be recorded. docs/demo.md says which part is real, which
is computed and which is modelled. The same seed and end give the same events with the same ids.
"""

from __future__ import annotations

import hashlib
import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple

import numpy as np
from genai_prices import Usage, calc_price
from numpy.typing import NDArray

from barograph.core.event import EPOCH
from barograph.demo import timing
from barograph.demo.dataset import Passage, load_feedback, load_trace
from barograph_client.clock import Clock, as_utc
from barograph_client.identifiers import uuid7

MODEL = "meta-llama/Llama-3.3-70B-Instruct-Turbo"  # the model whose published times `timing` follows
PROVIDER = "together"
ENVIRONMENT = "production"
EXPERIMENT = "a-a-of-real-ratings"
EXPERIMENT_TITLE = "A/A split of real ratings"
RATINGS = {"Excellent": 5, "Acceptable": 4, "Could be Improved": 2, "Bad": 1}
MODELLED = [*timing.FIELDS, "session_id", "user_id"]

MARGIN = timedelta(minutes=1)  # from the last request to the end, so that its answer is out before the end
ANSWER_LENGTH = 400  # characters of the passage that stand as the answer
PASSAGE_LENGTH = 200  # characters of each retrieved passage

USERS = 2400
HEAD = 20  # weight of the user of rank r is 1/(r + HEAD): a heavy tail, with no single user above 1 %
CONTINUES = 0.6  # share of requests that belong to a visit that is open already
VISIT = timedelta(minutes=10)  # how long a visit stays open
OPINION_SECONDS = 60.0  # median time from the answer to the rating
OPINION_SPREAD = 1.0  # sigma of its logarithm

EventDict = dict[str, object]
Assign = Callable[[str], str | None]


class _Step(NamedTuple):
    """One request: what is recorded when it comes, and the rating that follows some time later."""

    time: datetime
    events: tuple[tuple[str, EventDict], ...]
    rating: tuple[datetime, EventDict] | None


class _Shown(NamedTuple):
    """A question with one of its passages as the answer: the event's fields, and what people said of it."""

    fields: EventDict
    ratings: tuple[tuple[str, str], ...]


class Replay:
    """Plays the shipped data.

    ``assign`` gives the arm of a user id (None: not in the experiment); without it there is no experiment.
    ``model`` and ``provider`` are names of ``genai-prices``, which computes the cost at the event's date.
    Lists inside the dictionaries are shared between events: record them, do not change them.
    """

    def __init__(
        self, seed: int = 0, *, assign: Assign | None = None, model: str = MODEL, provider: str = PROVIDER
    ) -> None:
        self._seed = seed
        self._assign = assign
        self._model = model
        self._provider = provider
        self._trace = load_trace()
        self._shown = _shown()
        self._executions = _executions(self._shown, len(self))
        numbers = np.random.default_rng(seed).permutation(USERS)
        self._users = [f"user-{number:04d}" for number in numbers]

    def __len__(self) -> int:
        """How many requests are played."""
        return len(self._trace.offsets)

    @property
    def ratings(self) -> int:
        """How many of the requests are rated."""
        return sum(rating is not None for _, rating in self._executions)

    def events(self, end: datetime, days: float = 7.0) -> Iterator[tuple[str, EventDict]]:
        """The hour stretched evenly over the ``days`` before ``end``, oldest first, ratings included.

        The first request comes ``days`` before ``end``, the last a minute before it; nothing lies after it.
        """
        end = as_utc(end)
        start = end - timedelta(days=days)
        stretch = (end - MARGIN - start) / timedelta(microseconds=self._trace.microseconds)
        yield "annotation", self._note(start, days)
        for _, kind, event in _in_order(self._steps(0, start, stretch, end, set())):
            yield kind, event

    def live(self, clock: Clock, stop: threading.Event | None = None) -> Iterator[tuple[str, EventDict]]:
        """The hour at its real speed from now on, again and again; each event is yielded when its time has come.

        Ends when ``stop`` is set.
        """
        stop = stop or threading.Event()
        for time, kind, event in _in_order(self._laps(as_utc(clock.now()))):
            ahead = (time - clock.now()).total_seconds()
            if stop.is_set() or (ahead > 0 and clock.wait(stop, ahead)):
                return
            yield kind, event

    def _laps(self, start: datetime) -> Iterator[_Step]:
        exposed: set[str] = set()
        mean_gap = self._trace.microseconds / (len(self) - 1)
        lap_time = timedelta(microseconds=self._trace.microseconds + mean_gap)
        for lap in count(1):
            yield from self._steps(lap, start, 1.0, None, exposed)
            start += lap_time

    def _steps(
        self, lap: int, start: datetime, stretch: float, end: datetime | None, exposed: set[str]
    ) -> Iterator[_Step]:
        """The requests of one pass through the hour, which begins at ``start``."""
        generator = np.random.default_rng([self._seed, lap])
        times = [start + timedelta(microseconds=int(offset)) for offset in self._trace.offsets * stretch]
        visits = self._visits(times, generator)
        stages = timing.model_stage_times(self._trace.input_tokens, self._trace.output_tokens, generator)
        opinions = _lognormal(generator, OPINION_SECONDS, OPINION_SPREAD, len(self))
        parts = generator.random(len(self))
        order = generator.permutation(len(self))
        columns = zip(
            times, visits, order.tolist(), self._trace.input_tokens.tolist(), self._trace.output_tokens.tolist(),
            zip(*(stage.tolist() for stage in stages), strict=True), opinions.tolist(), parts.tolist(), strict=True,
        )  # fmt: skip
        for i, (time, (user, visit), turn, tokens_in, tokens_out, seconds, opinion, part) in enumerate(columns):
            index, rating = self._executions[turn]
            shown = self._shown[index]
            query: EventDict = {
                "event_id": self._id("query", lap, i, time),
                "time": time,
                "trace_id": self._digest(f"trace/{lap}/{i}/{_milliseconds(time)}", 16).hex(),
                "session_id": self._digest(f"visit/{lap}/{visit}/{_milliseconds(start)}", 8).hex(),
                "user_id": user,
                **shown.fields,
                "environment": ENVIRONMENT,
                "model": self._model,
                "provider": self._provider,
                "input_tokens": tokens_in,
                "output_tokens": tokens_out,
                "cost": self._cost(tokens_in, tokens_out, time),
                "modelled": MODELLED,
                **dict(zip(timing.FIELDS, seconds, strict=True)),
            }
            events = (*self._expose(query, user, exposed, lap, i, time), ("query", query))
            rated = None
            if rating is not None:
                when = _opinion_time(time + timedelta(seconds=seconds[0]), opinion, part, end)
                rated = when, self._feedback(lap, i, when, query, *shown.ratings[rating])
            yield _Step(time, events, rated)

    def _visits(self, times: list[datetime], generator: np.random.Generator) -> list[tuple[str, int]]:
        """For each request the user and the number of the visit it belongs to."""
        weights = 1.0 / (np.arange(USERS) + HEAD)
        newcomers = generator.choice(USERS, size=len(times), p=weights / weights.sum()).tolist()
        continues: NDArray[np.float64] = generator.random(len(times))
        picks: NDArray[np.float64] = generator.random(len(times))
        opened: deque[tuple[datetime, str, int]] = deque()
        visits: list[tuple[str, int]] = []
        for i, time in enumerate(times):
            while opened and time - opened[0][0] > VISIT:
                opened.popleft()
            if opened and continues[i] < CONTINUES:
                _, user, visit = opened[int(picks[i] * len(opened))]
            else:
                user, visit = self._users[newcomers[i]], i
                opened.append((time, user, visit))
            visits.append((user, visit))
        return visits

    def _cost(self, input_tokens: int, output_tokens: int, time: datetime) -> float:
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        price = calc_price(usage, self._model, provider_id=self._provider, genai_request_timestamp=time)
        return float(price.total_price)

    def _expose(
        self, query: EventDict, user: str, exposed: set[str], lap: int, i: int, time: datetime
    ) -> tuple[tuple[str, EventDict], ...]:
        """Write the user's arm on the query; the exposure event when it is the user's first."""
        arm = self._assign(user) if self._assign else None
        if arm is None:
            return ()
        query["variants"] = {EXPERIMENT: arm}
        if user in exposed:
            return ()
        exposed.add(user)
        exposure: EventDict = {
            "event_id": self._id("exposure", lap, i, time),
            "time": time,
            "experiment": EXPERIMENT,
            "arm": arm,
            "unit_id": user,
            "unit_kind": "user",
        }
        return (("exposure", exposure),)

    def _feedback(self, lap: int, i: int, time: datetime, query: EventDict, word: str, comment: str) -> EventDict:
        return {
            "event_id": self._id("feedback", lap, i, time),
            "time": time,
            "trace_id": query["trace_id"],
            "session_id": query["session_id"],
            "user_id": query["user_id"],
            "rating": RATINGS[word],
            "comment": comment,
        }

    def _note(self, start: datetime, days: float) -> EventDict:
        return {
            "event_id": self._id("annotation", 0, 0, start),
            "time": start,
            "title": "The replay begins",
            "category": "other",
            "text": f"{len(self):,} requests of one hour, from {self._trace.began:%Y-%m-%d %H:%M} UTC on, played over "
            f"{days:g} days, with questions, passages and ratings of FeedbackQA. Stage times, users and sessions are "
            "modelled.",
            "environment": ENVIRONMENT,
        }

    def _id(self, kind: str, lap: int, i: int, time: datetime) -> str:
        return uuid7(_milliseconds(time), self._digest(f"{kind}/{lap}/{i}", 10))

    def _digest(self, what: str, size: int) -> bytes:
        return hashlib.blake2b(f"{self._seed}/{what}".encode(), digest_size=size).digest()


def _in_order(steps: Iterable[_Step]) -> Iterator[tuple[datetime, str, EventDict]]:
    """The requests with the ratings put in where their time comes."""
    waiting: list[tuple[datetime, int, EventDict]] = []
    for number, step in enumerate(steps):
        while waiting and waiting[0][0] <= step.time:
            time, _, event = heapq.heappop(waiting)
            yield time, "feedback", event
        for kind, event in step.events:
            yield step.time, kind, event
        if step.rating is not None:
            heapq.heappush(waiting, (step.rating[0], number, step.rating[1]))
    while waiting:
        time, _, event = heapq.heappop(waiting)
        yield time, "feedback", event


def _shown() -> list[_Shown]:
    """Every passage of every question, as the answer to it."""
    data = load_feedback()
    shown = []
    for question in data.questions:
        passages = [data.passages[answer.passage] for answer in question.answers]
        for place, answer in enumerate(question.answers):
            passage = passages[place]
            fields: EventDict = {
                "query": question.question,
                "answer": excerpt(passage.text, ANSWER_LENGTH),
                "pipeline": question.domain,
                "documents": [_document(p, rank, rank == place) for rank, p in enumerate(passages)],
                "tags": {"page": passage.title},
            }
            shown.append(_Shown(fields, answer.ratings))
    return shown


def _document(passage: Passage, rank: int, cited: bool) -> EventDict:
    """A retrieved passage, in the order of the data set; cited is the one that is the answer."""
    return {
        "id": passage.id,
        "source": passage.uri,
        "rank": rank + 1,
        "cited": cited,
        "text": excerpt(passage.text, PASSAGE_LENGTH),
    }


def _executions(shown: list[_Shown], requests: int) -> list[tuple[int, int | None]]:
    """For each request the index of what was shown, and of the rating it got: every rating once, the rest unrated."""
    rated: list[tuple[int, int | None]] = [(i, r) for i, one in enumerate(shown) for r in range(len(one.ratings))]
    return rated + [(i % len(shown), None) for i in range(requests - len(rated))]


def excerpt(text: str, length: int) -> str:
    """The text on one line, cut at a word to at most ``length`` characters."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    cut = line[:length]
    return cut[: cut.rfind(" ")].rstrip() + "…" if " " in cut else cut[:-1] + "…"


def _opinion_time(answered: datetime, opinion: float, part: float, end: datetime | None) -> datetime:
    """When the rating is given: some seconds after the answer, and before ``end``."""
    when = answered + timedelta(seconds=opinion)
    return when if end is None or when <= end else answered + (end - answered) * part


def _lognormal(generator: np.random.Generator, median: float, sigma: float, size: int) -> NDArray[np.float64]:
    return median * np.exp(generator.normal(0.0, sigma, size))


def _milliseconds(time: datetime) -> int:
    return (time.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)
