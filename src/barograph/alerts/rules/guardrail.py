"""The rule that is always there: it fires for each experiment that a guardrail has stopped.

It measures nothing. Which experiments those are is told by who stops them, at every evaluation anew: the alert follows
from how things stand, not from a call that a kill could lose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import ClassVar

from barograph.alerts.lifecycle import Observation
from barograph.alerts.rules.threshold import GROUP_LIMIT, Measured, ThresholdRule
from barograph.core.metric import Measure, Metric
from barograph.core.query import MetricQuery
from barograph.core.reader import Reader
from barograph_client.errors import InvalidRule, shorten

GUARDRAIL = "guardrail breached"  # the rule's name
GROUP = "experiment"
Stopped = Callable[[datetime], Mapping[str, str]]

_METRIC = Metric(
    name="guardrail", title="Guardrail", unit="1", aggregation="last", better="neutral", sentence="",
    of=Measure("metric", "value", name="guardrail"), user_defined=True,
)  # fmt: skip


class GuardrailRule(ThresholdRule, frozen=True, kw_only=True):
    """``stopped`` says at once which experiments ask for somebody at a time, by key, each with why it was stopped."""

    stopped: Stopped

    has_limit: ClassVar[bool] = False
    wording: ClassVar[tuple[str, str]] = ("breached, the experiment was stopped", "is settled")
    over: ClassVar[str] = "the experiment was archived, or stopped a week ago"

    def standing(self, at: datetime) -> tuple[tuple[tuple[dict[str, str], Observation], ...], str]:
        """What fires at a time, and a sentence where there is more than is watched."""
        stopped = self.stopped(at)
        found = [
            ({GROUP: key}, Observation(outcome="breach", value=1.0, n=1, reason=why)) for key, why in stopped.items()
        ]
        more = len(found) > GROUP_LIMIT
        return tuple(found[:GROUP_LIMIT]), f"only {GROUP_LIMIT} of {len(found)} are watched" if more else ""

    def questions(self, end: datetime, project: str) -> tuple[MetricQuery, ...]:
        """None: nothing is measured."""
        return ()

    def read(self, reader: Reader, end: datetime, project: str) -> Measured:
        """Refused with InvalidRule: how things stood at another time is not known."""
        raise InvalidRule(
            f"rule {shorten(self.name)} is about how experiments stand, and cannot be tried on the past",
            hint="`barograph alerts history` shows when it fired.",
        )

    @property
    def condition(self) -> str:
        """The rule in short."""
        return "an experiment was stopped by a guardrail"


def guardrail_rule(stopped: Stopped) -> GuardrailRule:
    """The rule on what ``stopped`` tells."""
    return GuardrailRule(name=GUARDRAIL, metric=_METRIC, by=(GROUP,), stopped=stopped)
