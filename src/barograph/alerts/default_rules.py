"""Rules that are in force where nobody has written any: what goes wrong with retrieval and generation everywhere.

Each says nothing below some number of events, so that a quiet night or a new installation wakes nobody. One with the
same name in the file, or kept in the control plane, takes its place.
"""

from __future__ import annotations

from barograph.core.settings import RuleSettings, Settings

_ALWAYS: tuple[RuleSettings, ...] = (
    # A person waits about five seconds for an answer; two minutes of it is not one slow query.
    RuleSettings(name="slow responses", metric="response_time.p95", above=5.0, window="5m", for_="2m", minimum=10),
    # One failure in ten is seen by every regular user; twenty queries keep a quiet night from waking anyone.
    RuleSettings(name="errors", metric="error_rate", above=0.1, window="10m", minimum=20, severity="critical"),
    # Every third question unanswered says that retrieval or the index is broken, not that people ask odd things.
    RuleSettings(name="no answers", metric="no_answer_rate", above=0.3, window="30m", for_="5m", minimum=20),
)


def default_rules(settings: Settings) -> tuple[RuleSettings, ...]:
    """The default rules under those settings; none where they are switched off."""
    if not settings.default_rules:
        return ()
    return _ALWAYS
