"""Rules that are in force where nobody has written any: what goes wrong with retrieval and generation everywhere.

Each says nothing below some number of events, so that a quiet night or a new installation wakes nobody; what is
usual differs from one system to the next (seconds, scores, ratings), so there a rule compares with the past. One with
the same name in the file, or kept in the control plane, takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from barograph.core.settings import BudgetSettings, RuleSettings, Settings

_ALWAYS: tuple[RuleSettings, ...] = (
    # One failure in ten is seen by every regular user; twenty queries keep a quiet night from waking anyone.
    RuleSettings(name="errors", metric="error_rate", above=0.1, window="10m", minimum=20, severity="critical"),
    # Six times what 99 % allows, for hours: what nobody sees at once, and what is used up in five days.
    RuleSettings(
        name="error budget", metric="error_rate", kind="burn_rate", objective=0.99, above=6.0, window="6h", minimum=20
    ),
    # Nobody waits half a minute for an answer, whatever the model; and twice the time of yesterday is no accident.
    RuleSettings(name="slow responses", metric="response_time.p95", above=30.0, window="15m", for_="5m", minimum=20),
    RuleSettings(
        name="slower than yesterday", metric="response_time.p95", kind="change", compare="day", above=1.0, window="1h",
        for_="10m", minimum=50,
    ),
    # Every third question unanswered says that retrieval or the index is broken, not that people ask odd things.
    RuleSettings(name="no answers", metric="no_answer_rate", above=0.3, window="30m", for_="5m", minimum=20),
    RuleSettings(
        name="empty retrievals", metric="retrieval.empty_rate", above=0.2, window="30m", for_="5m", minimum=20
    ),
    # The best document's score is a third lower: another embedding model, or an index that was built anew, and badly.
    RuleSettings(
        name="top score fell", metric="retrieval.top_score", kind="change", compare="day", below=-0.3, window="1h",
        for_="10m", minimum=50,
    ),
    # Of what comes once a month, 77 % is expected to be missing from a week; nine of ten documents are an index lost.
    RuleSettings(
        name="documents not found any more", metric="retrieval.distinct_documents", kind="unseen", above=0.9,
        window="7d", lookback="30d", minimum=1000, severity="info",
    ),
    # A tenth less from one day to the next, on a hundred ratings of each, is more than chance.
    RuleSettings(
        name="users less satisfied", metric="satisfaction", kind="change", compare="day", below=-0.1, window="1d",
        minimum=100,
    ),
)  # fmt: skip


def default_rules(settings: Settings) -> tuple[RuleSettings, ...]:
    """The default rules under those settings; with those of a budget where there is one; none if switched off."""
    if not settings.default_rules:
        return ()
    return (*_ALWAYS, *_budgets(settings.budget, settings.timezone))


def _budgets(budget: BudgetSettings, timezone: str) -> Iterator[RuleSettings]:
    """What was spent; of a month also what it comes to at the pace so far."""
    spent = RuleSettings(name="daily budget", metric="cost", kind="budget", period="day", timezone=timezone)
    if budget.daily is not None:
        yield replace(spent, above=budget.daily)
    if budget.monthly is not None:
        month = replace(spent, name="monthly budget", period="month", above=budget.monthly)
        yield month
        yield replace(month, name="monthly budget forecast", forecast=True, severity="info")
