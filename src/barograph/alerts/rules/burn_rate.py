"""Burn-rate rules: how many times faster than allowed a service uses up its error budget, in a long and a short window.

The way of the SRE Workbook, chapter 5 ("Alerting on SLOs"), method 6: both windows must burn, the long one so that it
matters, the short one so that the alert ends soon after the trouble. Two changes for little traffic: ``minimum``
events in both windows, and of the long window not the bad share itself but the lower bound of its Wilson interval,
below which the true share lies with a probability of 5 %. A rule that could not fire at a failure of everything is
refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import asdict, replace

from barograph.alerts.rules.bounds import Bounds
from barograph.alerts.rules.threshold import LONGEST_WINDOW, ThresholdRule, grouped, inside, make_threshold, seconds_of
from barograph.alerts.schedule import INTERVAL_SECONDS
from barograph.core.metric import Catalogue, Metric
from barograph.core.query import MetricAnswer, MetricQuery, MetricRow, Window
from barograph.core.settings import RuleSettings
from barograph.core.unit import format_value
from barograph_client.errors import InvalidRule, shorten

SHORT_SHARE = 12  # the short window is the twelfth part of the long one, as in the workbook
ALPHA = 0.1  # two-sided: 5 % below the lower bound


class BurnRateRule(ThresholdRule, frozen=True, kw_only=True):
    """Fires while both windows burn faster than ``above`` times what the objective allows.

    ``objective`` is the share of good events that is promised. The value is the smaller of the two burn rates.
    """

    objective: float
    short_seconds: float

    @property
    def shortest_seconds(self) -> float:
        """The short window, in seconds."""
        return self.short_seconds

    def questions(self, end: datetime, project: str) -> tuple[MetricQuery, ...]:
        """The long window, which says which groups there are, and the short one."""
        question = self.question(end, project)
        return question, replace(question, window=Window.last(self.short_seconds, end))

    def rows(self, answers: Sequence[MetricAnswer]) -> Sequence[MetricRow]:
        """The burn rate of each group; None without traffic in either window. ``n`` is that of the quieter window."""
        short = grouped(answers[1].rows)
        return [self._burn(row, short.get(tuple(row.group.values()))) for row in answers[0].rows]

    def _burn(self, row: MetricRow, short: MetricRow | None) -> MetricRow:
        # Imported here: it brings numpy, and a rule is also made where there are no data.
        from barograph.stats.proportions import wilson_interval

        if row.value is None or not row.n or short is None or short.value is None:
            return replace(row, value=None, n=0)
        bad = round(self._bad(row.value) * row.n)
        lower, _ = wilson_interval(min(bad, row.n), row.n, ALPHA)
        allowed = 1 - self.objective
        return replace(row, value=min(lower, self._bad(short.value)) / allowed, n=min(row.n, short.n))

    def _bad(self, share: float) -> float:
        return 1 - share if self.metric.better == "higher" else share

    @property
    def condition(self) -> str:
        """The rule in short."""
        windows = f"{format_value(self.window_seconds, 's')} and {format_value(self.short_seconds, 's')}"
        by = f" by {', '.join(self.by)}" if self.by else ""
        goal = format_value(self.objective, "ratio", precise=True)
        return f"{self.metric.name} burns {self.above:g} × the budget of a {goal} objective over {windows}{by}"


def make_burn_rate(settings: RuleSettings, metric: Metric, catalogue: Catalogue) -> BurnRateRule:
    """The burn-rate rule of those settings. Raises InvalidRule, also for one that could never fire."""
    name, objective, burn = shorten(settings.name), settings.objective, settings.above
    if metric.aggregation != "ratio" or metric.better == "neutral":
        raise InvalidRule(
            f"rule {name}: {metric.name} is no share of good or bad events",
            hint="Name a ratio such as error_rate.",
            value=metric.name,
        )
    if objective is None or not 0 < objective < 1:
        raise InvalidRule(
            f"rule {name}: a burn rate needs an objective between 0 and 1",
            hint="99.9 % good is objective = 0.999.",
            value=objective,
        )
    if burn is None or burn <= 0 or settings.below is not None:
        raise InvalidRule(
            f"rule {name}: a burn rate has the limit above alone, which is more than 0",
            hint="Write above = 14.4, or another burn rate.",
            value=burn,
        )
    needed = burn * (1 - objective)
    if needed >= 1:
        raise InvalidRule(
            f"rule {name}: it can never fire: {burn:g} × (1 - {objective:g}) = {needed:.4g}, and no more than all "
            "events, 1, can be bad",
            hint=f"Choose above below {1 / (1 - objective):.3g}, or an objective above {1 - 1 / burn:.4g}.",
            value=burn,
        )
    long = seconds_of(name, "window", settings.window, LONGEST_WINDOW)
    short = long / SHORT_SHARE
    if settings.short_window:
        short = seconds_of(name, "short_window", settings.short_window, LONGEST_WINDOW)
    if short >= long:
        raise InvalidRule(
            f"rule {name}: short_window is not shorter than window",
            hint=f"Leave it out for {format_value(long / SHORT_SHARE, 's')}.",
            value=settings.short_window,
        )
    if short < INTERVAL_SECONDS:
        least = format_value(INTERVAL_SECONDS * (1 if settings.short_window else SHORT_SHARE), "s")
        raise InvalidRule(
            f"rule {name}: rules are evaluated every {format_value(INTERVAL_SECONDS, 's')}, and the short window has "
            f"{format_value(short, 's')}: of every {INTERVAL_SECONDS:g} s it would not see "
            f"{INTERVAL_SECONDS - short:.3g}",
            hint=f"Choose a {'short_window' if settings.short_window else 'window'} of {least} or more.",
            value=settings.short_window or settings.window,
        )
    shown = replace(metric, title=f"Burn of the error budget by {inside(metric)}", unit="×")
    made = make_threshold(settings, shown, Bounds("a burn rate", 0, 1 / (1 - objective)))
    return BurnRateRule(**asdict(made), objective=objective, short_seconds=short)
