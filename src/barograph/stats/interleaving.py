"""Two rankers interleaved: which of them do readers' clicks, citations or ratings prefer?"""

from __future__ import annotations

from msgspec import Struct

from barograph_client.errors import InvalidInput


class Preference(Struct, frozen=True, kw_only=True):
    """``value`` is the share of decided queries that the arm won, from ``low`` to ``high``; a half is none.

    All are None while every query is a tie.
    """

    wins: int
    losses: int
    ties: int
    value: float | None
    low: float | None
    high: float | None
    p_value: float | None
    alpha: float


def sign_test(wins: int, losses: int, ties: int = 0, *, alpha: float = 0.05) -> Preference:
    """The exact sign test of an arm's wins, with the exact interval of its share of the decided queries.

    Source: Dixon, Mood, "The statistical sign test" (1946); the interval is Clopper and Pearson's (1934). Ties are
    left out. Assumes independent queries, so one query a reader, or queries summed by reader to one win or loss. A
    fixed-horizon test: made once, at the planned end. Refuses (InvalidInput) negative counts.
    """
    if min(wins, losses, ties) < 0:
        raise InvalidInput("wins, losses and ties cannot be negative", value=(wins, losses, ties))
    if not 0 < alpha < 1:
        raise InvalidInput("alpha must lie between 0 and 1", hint="0.05 is usual.", value=alpha)
    decided = wins + losses
    value = low = high = p_value = None
    if decided:
        from scipy.special import bdtr, betaincinv

        value = wins / decided
        low = float(betaincinv(wins, losses + 1, alpha / 2)) if wins else 0.0
        high = float(betaincinv(wins + 1, losses, 1 - alpha / 2)) if losses else 1.0
        p_value = min(1.0, 2 * float(bdtr(min(wins, losses), decided, 0.5)))
    return Preference(
        wins=wins, losses=losses, ties=ties, value=value, low=low, high=high, p_value=p_value, alpha=alpha
    )
