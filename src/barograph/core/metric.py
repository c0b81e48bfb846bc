"""The catalogue: every metric is defined once, here, and known by its name everywhere else.

Alerts, analytics, experiments, charts and reports name a metric and ask a ``Reader``; only ``store`` knows how
a ``Measure`` is read from the engine. A rate is a ratio of sums, a percentile comes from merged sketches, and
what was not measured is absent, never zero.

Beside the listed metrics two families exist by name: ``score.<name>`` (the mean of a score) and
``metric.<name>`` (the mean of a recorded number).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Literal

from msgspec import Struct

from barograph_client.errors import InvalidSettings, UnknownMetric

Aggregation = Literal["count", "rate", "sum", "mean", "ratio", "quantile", "distinct", "last", "min", "max"]
Better = Literal["lower", "higher", "neutral"]
UNITS = ("s", "USD", "ratio", "1", "tokens", "rating", "score", "%", "B", "1/min")  # known to what draws numbers


class Measure(Struct, frozen=True):
    """A number that each event of a kind has, or that counts events.

    ``kind`` is an event kind. ``field`` is one of its numbers, a number derived from it (``document_count``,
    ``top_score``, ``cited_count``), or empty to count the events themselves. ``name`` selects among ``score``
    and ``metric`` events. ``where`` keeps only events whose field has that value: a pair (field, value).
    """

    kind: str
    field: str = ""
    name: str = ""
    where: tuple[str, str] | None = None


class Metric(Struct, frozen=True, kw_only=True):
    """One metric: what it is called, computed from, measured in, and which way is better.

    ``mean`` is the sum of ``of`` over the number of events that have it; ``ratio`` the count (or sum) of ``of``
    over that of ``per``; ``quantile`` the ``level`` quantile of ``of``; ``distinct`` the number of different
    values of the field; ``rate`` the count a minute. ``unit`` is one of UNITS; any other text is shown behind the
    number as it stands.
    """

    name: str
    title: str
    unit: str
    aggregation: Aggregation
    better: Better
    sentence: str
    of: Measure
    per: Measure | None = None
    level: float | None = None
    user_defined: bool = False


def _time(stage: str, title: str, what: str) -> Iterator[Metric]:
    """Mean and percentiles of one stage's seconds."""
    of = Measure("query", stage)
    yield Metric(
        name=f"{stage}.mean", title=f"Average {title}", unit="s", aggregation="mean", better="lower", of=of,
        sentence=f"Mean seconds {what}.",
    )  # fmt: skip
    for level in (0.5, 0.95, 0.99):
        yield Metric(
            name=f"{stage}.p{level * 100:.0f}", title=f"{title} p{level * 100:.0f}".capitalize(), unit="s",
            aggregation="quantile", level=level, better="lower", of=of,
            sentence=f"{level:.0%} of queries took at most so many seconds {what}.",
        )  # fmt: skip


_QUERY = Measure("query")
_ERROR = Measure("query", where=("status", "error"))
_RETRIEVAL = Measure("query", "document_count", where=("documents", "present"))
_NO_ANSWER = Measure("query", where=("status", "no_answer"))

BUILT_IN: tuple[Metric, ...] = (
    Metric(name="queries", title="Queries", unit="1", aggregation="count", better="neutral", of=_QUERY,
           sentence="How many queries were executed."),
    Metric(name="queries_per_minute", title="Queries a minute", unit="1/min", aggregation="rate", better="neutral",
           of=_QUERY, sentence="Queries executed, a minute."),
    *_time("response_time", "response time", "from the request to the whole answer"),
    *_time("retrieval_time", "retrieval time", "to search the knowledge base"),
    *_time("generation_time", "generation time", "to generate the answer"),
    *_time("rerank_time", "rerank time", "to rerank the passages"),
    *_time("embedding_time", "embedding time", "to embed the question"),
    *_time("time_to_first_token", "time to first token", "until the first token arrived"),
    Metric(name="error_rate", title="Error rate", unit="ratio", aggregation="ratio", better="lower",
           of=_ERROR, per=_QUERY, sentence="Share of queries that ended in an error."),
    Metric(name="no_answer_rate", title="No-answer rate", unit="ratio", aggregation="ratio", better="lower",
           of=_NO_ANSWER, per=_QUERY, sentence="Share of queries that got no answer."),
    Metric(name="cost", title="Cost", unit="USD", aggregation="sum", better="lower", of=Measure("query", "cost"),
           sentence="US dollars spent on priced queries."),
    Metric(name="cost_per_query", title="Cost a query", unit="USD", aggregation="mean", better="lower",
           of=Measure("query", "cost"), sentence="Mean US dollars of a priced query."),
    Metric(name="priced_rate", title="Priced share", unit="ratio", aggregation="ratio", better="higher",
           of=Measure("query", "cost", where=("cost", "present")), per=_QUERY,
           sentence="Share of queries whose price is known."),
    Metric(name="tokens.input", title="Input tokens", unit="tokens", aggregation="sum", better="neutral",
           of=Measure("query", "input_tokens"), sentence="Tokens sent to the model."),
    Metric(name="tokens.output", title="Output tokens", unit="tokens", aggregation="sum", better="neutral",
           of=Measure("query", "output_tokens"), sentence="Tokens the model generated."),
    Metric(name="tokens.cached", title="Cached tokens", unit="tokens", aggregation="sum", better="neutral",
           of=Measure("query", "cached_tokens"), sentence="Input tokens served from the provider's cache."),
    Metric(name="accuracy", title="Accuracy", unit="score", aggregation="mean", better="higher",
           of=Measure("query", "accuracy_score"), sentence="Mean accuracy score of the queries that have one."),
    Metric(name="satisfaction", title="User satisfaction", unit="rating", aggregation="mean", better="higher",
           of=Measure("feedback", "rating"), sentence="Mean rating by users, from 1 to 5."),
    Metric(name="feedback", title="Feedback", unit="1", aggregation="count", better="neutral",
           of=Measure("feedback"), sentence="How many times users gave feedback."),
    Metric(name="low_rating_rate", title="Low ratings", unit="ratio", aggregation="ratio", better="lower",
           of=Measure("feedback", "low_rating"), per=Measure("feedback", "rating", where=("rating", "present")),
           sentence="Share of ratings that are 2 or less."),
    Metric(name="retrieval.empty_rate", title="Empty retrievals", unit="ratio", aggregation="ratio", better="lower",
           of=Measure("query", "empty_retrieval"), per=_RETRIEVAL,
           sentence="Share of retrievals that found nothing."),
    Metric(name="retrieval.top_score", title="Top score", unit="score", aggregation="mean", better="higher",
           of=Measure("query", "top_score"), sentence="Mean of the best document's score, on the retriever's scale."),
    Metric(name="retrieval.documents", title="Documents a query", unit="1", aggregation="mean", better="neutral",
           of=Measure("query", "document_count"), sentence="Mean number of documents retrieved."),
    Metric(name="retrieval.distinct_documents", title="Different documents", unit="1", aggregation="distinct",
           better="neutral", of=Measure("query", "document_id"),
           sentence="How many different documents were retrieved, by id, or source where they have none."),
    Metric(name="active_users", title="Active users", unit="1", aggregation="distinct", better="neutral",
           of=Measure("query", "user_id"), sentence="How many different users asked."),
    Metric(name="sessions", title="Sessions", unit="1", aggregation="distinct", better="neutral",
           of=Measure("query", "session_id"), sentence="How many different sessions had a query."),
    Metric(name="system.cpu", title="CPU", unit="%", aggregation="mean", better="lower",
           of=Measure("system", "cpu_percent"), sentence="Mean CPU use of the machine, 0 to 100."),
    Metric(name="system.memory", title="Memory", unit="%", aggregation="mean", better="lower",
           of=Measure("system", "memory_percent"), sentence="Mean memory use of the machine, 0 to 100."),
    Metric(name="system.disk", title="Disk", unit="%", aggregation="last", better="lower",
           of=Measure("system", "disk_percent"), sentence="Use of the data directory's disk, as last seen."),
    Metric(name="system.process_memory", title="Process memory", unit="B", aggregation="last", better="lower",
           of=Measure("system", "process_memory"), sentence="Resident memory of the process, as last seen."),
)  # fmt: skip

FAMILIES: dict[str, str] = {
    "score": "Mean of the score of that name, from score events.",
    "metric": "Mean of the number of that name, from metric events.",
}


class Catalogue:
    """The metrics by name: the built-in ones and the user's own."""

    def __init__(self, own: Iterable[Metric] = ()) -> None:
        self._metrics = {metric.name: metric for metric in BUILT_IN}
        for metric in own:
            self.add(metric)

    def add(self, metric: Metric) -> None:
        """Add a metric of the user's own. Raises InvalidSettings when it does not hold together."""
        if metric.name in self._metrics:
            raise InvalidSettings(f"the metric {metric.name} exists already", hint="Choose another name.")
        if metric.aggregation == "ratio" and metric.per is None:
            raise InvalidSettings(f"metric {metric.name}: a ratio needs 'per'", hint="Say what it is a share of.")
        if metric.aggregation == "quantile" and not (metric.level and 0 < metric.level < 1):
            raise InvalidSettings(f"metric {metric.name}: a quantile needs a level between 0 and 1")
        self._metrics[metric.name] = metric

    def remove(self, name: str) -> None:
        """Take a metric of the user's own out again; the built-in ones stay."""
        if name in self._metrics and self._metrics[name].user_defined:
            del self._metrics[name]

    def get(self, name: str) -> Metric:
        """The metric of that name; raises UnknownMetric, which names the closest ones."""
        found = self._metrics.get(name)
        if found is not None:
            return found
        family, _, rest = name.partition(".")
        if family in FAMILIES and rest:
            return Metric(
                name=name, title=rest, unit="score" if family == "score" else "1", aggregation="mean",
                better="higher" if family == "score" else "neutral", sentence=f"Mean of the {family} {rest}.",
                of=Measure(family, "value", name=rest),
            )  # fmt: skip
        close = get_close_matches(name, self._metrics, n=3, cutoff=0.4)
        hint = f"Did you mean {', '.join(close)}? " if close else ""
        raise UnknownMetric("no such metric", hint=f"{hint}`barograph metrics` lists them all.", value=name)

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._metrics.values())

    def __len__(self) -> int:
        return len(self._metrics)
