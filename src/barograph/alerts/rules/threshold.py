"""Threshold rules: a metric of the catalogue, a window, a limit, and for how long it must be passed.

Made from ``[[rules]]`` of the settings and checked against the catalogue, so that a rule which could never fire is
refused when it is loaded, not found silent in an incident. The other kinds of this folder are threshold rules on a
number of their own: they ask other questions and make other rows of the answers. ``evaluator`` asks a rule's questions
and compares its rows with its limits; ``lifecycle`` takes it from there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Literal

from msgspec import Struct, field

from barograph.alerts.lifecycle import LOOKBACK_SECONDS, VANISHED_SECONDS, Policy
from barograph.alerts.prometheus.template import Template
from barograph.alerts.rules.bounds import ANYTHING, Bounds, bounds_of
from barograph.core.metric import Catalogue, Metric
from barograph.core.query import DIMENSIONS, Filter, MetricAnswer, MetricQuery, MetricRow, Window, parse_duration
from barograph.core.reader import Reader
from barograph.core.settings import RuleSettings
from barograph.core.unit import format_value
from barograph_client.errors import InvalidQuery, InvalidRule, UnknownMetric, shorten

Severity = Literal["info", "warning", "critical"]

LONGEST_WINDOW = 366 * 86400.0
LONGEST_FOR = 30 * 86400.0
GROUP_LIMIT = 500  # groups of one rule that are watched; the evaluator says so when there are more

_ZERO = re.compile(r"\A0+(\.0+)?(ms|s|m|h|d|w)?\Z")


class Measured(Struct, frozen=True, kw_only=True):
    """What a rule compares with its limits: a row a group, from data complete up to ``complete_to``.

    ``note`` is a sentence when the groups are not all there are.
    """

    rows: Sequence[MetricRow]
    complete_to: datetime
    note: str = ""


class ThresholdRule(Struct, frozen=True, kw_only=True):
    """One rule, checked: fires when the metric over the window is above, or below, its limit for long enough.

    ``window_seconds`` are seconds; ``minimum`` is the number of measured events below which the window says nothing.
    ``resolve`` is where the metric must be back before a firing alert is resolved, the limit where it is None.
    It is looked at every ``interval_seconds``, at every tick where these are 0.
    """

    name: str
    metric: Metric
    above: float | None = None
    below: float | None = None
    resolve: float | None = None
    window_seconds: float = 300.0
    interval_seconds: float = 0.0
    policy: Policy = Policy()
    severity: Severity = "warning"
    by: tuple[str, ...] = ()
    where: tuple[Filter, ...] = ()
    minimum: int = 1
    message: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, Template] = field(default_factory=dict)
    runbook: str = ""

    has_limit: ClassVar[bool] = True  # above or below; else what is broken is decided elsewhere and told in its reason
    wording: ClassVar[tuple[str, str]] = ("is unusual", "is usual again")  # of one without a limit
    back: ClassVar[str] = "is back within its threshold"  # how the end of an alert of one with a limit is told
    over: ClassVar[str] = ""  # why a group ends that is not there any more, where that is known; else by its last value

    @property
    def nothing(self) -> str:
        """Why there is no value, in words, where the events of the window are not too few but none."""
        return "nothing was measured in the window"

    @property
    def for_seconds(self) -> float:
        """How long the limit must be passed before the rule fires, in seconds."""
        return self.policy.for_seconds

    @property
    def shortest_seconds(self) -> float:
        """The shortest of its windows, in seconds."""
        return self.window_seconds

    def crossed(self, value: float) -> float | None:
        """The limit that the value has passed, or None; a value equal to the limit has not passed it."""
        if self.above is not None and value > self.above:
            return self.above
        if self.below is not None and value < self.below:
            return self.below
        return None

    def is_between(self, value: float) -> bool:
        """Whether the value is back within the limit, but not at the resolve threshold yet."""
        if self.resolve is None or self.crossed(value) is not None:
            return False
        return value > self.resolve if self.above is not None else value < self.resolve

    def question(self, end: datetime, project: str) -> MetricQuery:
        """What to ask a Reader for the window that ends at ``end``."""
        return MetricQuery(
            metric=self.metric.name,
            window=Window.last(self.window_seconds, end),
            by=self.by,
            where=self.where,
            project=project,
            limit=GROUP_LIMIT,
        )

    def questions(self, end: datetime, project: str) -> tuple[MetricQuery, ...]:
        """All that is to be asked for an evaluation at ``end``; the first one says which groups there are."""
        return (self.question(end, project),)

    def rows(self, answers: Sequence[MetricAnswer]) -> Sequence[MetricRow]:
        """The rows that are compared with the limits, one a group, from the answers to ``questions`` in their order."""
        return answers[0].rows

    def read(self, reader: Reader, end: datetime, project: str) -> Measured:
        """Ask a Reader for the window that ends at ``end``. Raises what its questions raise."""
        answers = [reader.query(question) for question in self.questions(end, project)]
        full = len(answers[0].rows) >= GROUP_LIMIT
        return Measured(
            rows=self.rows(answers),
            complete_to=answers[0].complete_to,
            note=f"only the {GROUP_LIMIT} largest groups are watched" if full else "",
        )

    @property
    def condition(self) -> str:
        """The rule in short, such as ``response_time.p95 above 5 s over 5 min``."""
        return self.stated(self.metric.name)

    def stated(self, subject: str) -> str:
        """The condition on that subject: its limits, the window and the groups."""
        limits = [
            f"{word} {format_value(limit, self.metric.unit)}"
            for word, limit in (("above", self.above), ("below", self.below))
            if limit is not None
        ]
        by = f" by {', '.join(self.by)}" if self.by else ""
        return f"{subject} {' or '.join(limits)} over {format_value(self.window_seconds, 's')}{by}"


def make_limit(settings: RuleSettings, metric: Metric) -> ThresholdRule:
    """The rule of kind ``threshold`` of those settings: the metric itself is compared. Raises InvalidRule."""
    made = make_threshold(settings, metric, bounds_of(metric))
    minutes = {"count": 1.0, "rate": made.window_seconds / 60}.get(metric.aggregation)
    if made.below is not None and minutes and made.below * minutes <= made.minimum and settings.no_data != "alerting":
        more = f"below above {made.minimum / minutes:g}, a smaller minimum, " if made.minimum > 1 else ""
        raise InvalidRule(
            f"rule {shorten(made.name)}: it can never fire, a window with fewer events than {made.minimum} has no data",
            hint=f'Choose {more}no_data = "alerting" or kind = "absence".',
            value=made.below,
        )
    return made


def make_threshold(settings: RuleSettings, metric: Metric, bounds: Bounds = ANYTHING) -> ThresholdRule:
    """The threshold rule of those settings. Raises InvalidRule.

    ``bounds`` are those of the number that is compared: a limit that it never passes, or always, is refused.
    """
    name = shorten(settings.name)
    _check_limits(name, settings)
    _check_resolve(name, settings)
    bounds.check(name, settings.above, settings.below, settings.resolve)
    try:
        where = tuple(Filter.parse(text) for text in settings.where)
    except InvalidQuery as error:
        raise InvalidRule(f"rule {name}: where: {error.message}", hint=error.hint, value=error.value) from None
    for label in settings.by:
        if label not in DIMENSIONS and not (label.startswith("tag.") and len(label) > len("tag.")):
            raise InvalidRule(
                f"rule {name}: cannot group by that", hint=f"Use {', '.join(DIMENSIONS)} or tag.<name>.", value=label
            )
    return ThresholdRule(
        name=settings.name,
        metric=metric,
        above=settings.above,
        below=settings.below,
        resolve=settings.resolve,
        window_seconds=seconds_of(name, "window", settings.window, LONGEST_WINDOW),
        policy=_policy(name, settings),
        severity=settings.severity,
        by=settings.by,
        where=where,
        minimum=settings.minimum,
        message=settings.message,
    )


def metric_of(settings: RuleSettings, metric: str, catalogue: Catalogue) -> Metric:
    """A metric that a rule names. Raises InvalidRule with the rule's name and the closest metrics."""
    if not metric:
        raise InvalidRule(f"rule {shorten(settings.name)}: it names no metric", hint='Write metric = "…".')
    try:
        return catalogue.get(metric)
    except UnknownMetric as error:
        raise InvalidRule(f"rule {shorten(settings.name)}: {error.message}", hint=error.hint, value=metric) from None


def inside(metric: Metric) -> str:
    """The metric's title within a sentence: ``response time``, ``p95`` kept, ``CPU`` as it is."""
    title = metric.title or metric.name
    if metric.aggregation == "mean":
        title = title.removeprefix("Average ")
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def grouped(rows: Sequence[MetricRow]) -> dict[tuple[str, ...], MetricRow]:
    """The rows by their group."""
    return {tuple(row.group.values()): row for row in rows}


def _check_limits(name: str, settings: RuleSettings) -> None:
    above, below = settings.above, settings.below
    if above is None and below is None:
        raise InvalidRule(f"rule {name}: it has no limit", hint="Write above = …, below = …, or both.")
    for word, limit in (("above", above), ("below", below)):
        if limit is not None and not math.isfinite(limit):
            raise InvalidRule(f"rule {name}: {word} is not a finite number", hint="Write a number.", value=limit)
    if above is not None and below is not None and below >= above:
        raise InvalidRule(
            f"rule {name}: every value is above {above:g} or below {below:g}",
            hint="'below' must be the smaller of the two: the rule fires outside the band between them.",
        )


def _check_resolve(name: str, settings: RuleSettings) -> None:
    above, below, resolve = settings.above, settings.below, settings.resolve
    if resolve is None:
        return
    if above is not None and below is not None:
        raise InvalidRule(
            f"rule {name}: resolve needs one limit, it has two", hint="Write two rules, one with above, one with below."
        )
    if not math.isfinite(resolve) or (above is not None and resolve > above) or (below is not None and resolve < below):
        side = "below" if above is not None else "above"
        raise InvalidRule(
            f"rule {name}: it would resolve while it is broken", hint=f"Choose resolve {side} the limit.", value=resolve
        )


def _policy(name: str, settings: RuleSettings) -> Policy:
    usual = LOOKBACK_SECONDS if settings.missing == "prometheus" else VANISHED_SECONDS
    return Policy(
        for_seconds=_wait(name, "for", settings.for_),
        keep_firing_seconds=_wait(name, "keep_firing_for", settings.keep_firing_for),
        no_data=settings.no_data,
        missing=settings.missing,
        lookback_seconds=_wait(name, "lookback", settings.lookback) if settings.lookback else usual,
    )


def _wait(name: str, setting: str, text: str) -> float:
    return 0.0 if _ZERO.match(text.strip()) else seconds_of(name, setting, text, LONGEST_FOR)


def seconds_of(name: str, setting: str, text: str, longest: float) -> float:
    """Seconds of a duration among a rule's settings. Raises InvalidRule."""
    try:
        seconds = parse_duration(text)
    except InvalidQuery as error:
        raise InvalidRule(f"rule {name}: {setting}: {error.message}", hint=error.hint, value=text) from None
    if seconds > longest:
        raise InvalidRule(f"rule {name}: {setting} is too long", hint=f"At most {longest / 86400:g} days.", value=text)
    return seconds
