"""Whether silence says anything: what is missing is evidence only where it could have been sent.

While a server is down nobody can send, and in a new project nobody has sent yet. ``alert_manager`` takes each reading
past here before it enters it: what such a silence would break is ``unheard`` to ``lifecycle``, which fires and resolves
nothing by it. Rules that take missing data as Prometheus does, expressions and functions are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

from barograph.alerts.detectors import START
from barograph.alerts.evaluator import Reading
from barograph.alerts.lifecycle import Observation
from barograph.alerts.rules.absence import AbsenceRule
from barograph.alerts.rules.anomaly import AnomalyRule
from barograph.alerts.rules.expression import ExpressionRule
from barograph.alerts.rules.function import FunctionRule
from barograph.alerts.rules.guardrail import GuardrailRule
from barograph.alerts.rules.ratio import RatioRule
from barograph.alerts.rules.threshold import ThresholdRule
from barograph.core.query import Filter
from barograph.core.unit import format_value

NEVER = "nothing was ever measured"
TOLERATED = 0.1  # of a window may pass unheard, so that a short restart blinds no rule
_GROWS = ("count", "sum", "rate", "distinct")  # the less could be sent, the smaller it is

_SAMPLES = "system"  # the kind of what the sampler records for as long as a directory is open to events, once a minute
_SAME_LIFE = timedelta(minutes=2)
_ASKED_AGAIN = timedelta(minutes=5)  # whether there ever was an event: only one with a time of its own makes it true

Key = tuple[str, str, tuple[Filter, ...]]  # a rule, its metric and its filters
Ever = Callable[[ThresholdRule, datetime], bool]


class Hearing:
    """When one project could be heard: since ``opened``, and before that up to ``last``, None where that is unknown."""

    def __init__(self, last: datetime | None, opened: datetime) -> None:
        self._deaf = [(last if last is not None and last <= opened else START, opened)]
        self._known: set[Key] = set()  # what was measured once, so that it can be missed
        self._asked: dict[Key, datetime] = {}  # when it was asked last whether it ever was, and was not

    def skip(self, seconds: float, now: datetime) -> None:
        """The wall clock was stepped: what it was set forward by has never been."""
        if seconds > 0:
            self._deaf.append((now - timedelta(seconds=seconds), now))

    def judge(self, rule: ThresholdRule, reading: Reading, end: datetime, ever: Ever) -> Reading:
        """The reading of the window that ends at ``end``, with what its silence is worth.

        ``ever`` says whether anything of a rule was measured up to then; it is asked now and then, until it was.
        """
        told = isinstance(rule, ExpressionRule | FunctionRule | GuardrailRule)  # which know what silence means
        if reading.error or rule.policy.missing == "prometheus" or told:
            return reading
        why = self._shut(rule, end) or self._never(rule, reading, end, ever)
        if not why:
            return reading
        groups = tuple(
            (labels, replace(seen, outcome="unheard", reason=why) if _is_silence(rule, seen) else seen)
            for labels, seen in reading.groups
        )
        return replace(reading, groups=groups, unheard=why)

    def _shut(self, rule: ThresholdRule, end: datetime) -> str:
        windows = 2 if isinstance(rule, AnomalyRule) else 1  # its last point may have begun so long ago
        seconds = windows * rule.window_seconds
        begin = end - timedelta(seconds=seconds)
        lost = sum(max(0.0, (min(to, end) - max(since, begin)).total_seconds()) for since, to in self._deaf)
        if lost <= TOLERATED * seconds:
            return ""
        length, heard = (format_value(round(one), "s") for one in (seconds, max(0.0, seconds - lost)))
        return f"nobody could send but for {heard} of the last {length}"

    def _never(self, rule: ThresholdRule, reading: Reading, end: datetime, ever: Ever) -> str:
        key = (rule.name, rule.metric.name, rule.where)
        if key in self._known:
            return ""
        if not reading.groups or all(_is_silence(rule, seen) for _, seen in reading.groups):
            asked = self._asked.get(key)
            if asked is not None and asked <= end < asked + _ASKED_AGAIN:
                return NEVER
            if not ever(rule, end):
                self._asked[key] = end
                return NEVER
        self._known.add(key)
        return ""


def last_heard(arrivals: Mapping[str, datetime]) -> datetime | None:
    """When events could come last, by the last arrival of each kind; None where no sample of the machine tells.

    What a command has recorded since is no sign that others could.
    """
    sample = arrivals.get(_SAMPLES)
    return None if sample is None else max(moment for moment in arrivals.values() if moment <= sample + _SAME_LIFE)


def _is_silence(rule: ThresholdRule, seen: Observation) -> bool:
    """Whether it shows what it shows because nothing came, or too little."""
    if seen.outcome == "nodata":
        return rule.policy.no_data != "nodata"  # which is no state of its own to this rule
    if seen.outcome != "breach":
        return False
    if isinstance(rule, AbsenceRule):
        return True
    if isinstance(rule, RatioRule) or rule.metric.aggregation not in _GROWS:
        return False
    return isinstance(rule, AnomalyRule) or (rule.below is not None and seen.threshold == rule.below)
