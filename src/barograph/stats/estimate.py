"""What a comparison answers: an effect with its interval, a p-value, and what to mind.

Filled by the comparisons of this folder; read by ``experiments`` and by whatever shows one.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Alternative = Literal["two-sided", "greater", "less"]


class Effect(Struct, frozen=True, kw_only=True):
    """One effect: ``value``, and the interval from ``low`` to ``high`` (None where none can be given).

    ``p_value`` is that of no effect (or of the stated margin). Bounds of a one-sided interval are infinite on
    the open side, and the interval always holds its own value.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    standard_error: float | None = None
    statistic: float | None = None
    degrees: float | None = None


class Estimate(Struct, frozen=True, kw_only=True):
    """An arm against the baseline.

    ``absolute`` is arm minus baseline in the metric's unit; ``relative`` the same as a share of the baseline's
    size, so that its sign is that of the difference even where the baseline is negative. Either is None where it
    has no meaning; ``warnings`` then say why. ``alpha`` is the risk that the intervals are made for: their
    confidence is 1 - alpha.
    """

    arm: str
    baseline: str
    arm_value: float | None
    baseline_value: float | None
    arm_n: int
    baseline_n: int
    absolute: Effect | None
    relative: Effect | None
    alpha: float
    method: str
    warnings: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Units in both arms."""
        return self.arm_n + self.baseline_n

    @property
    def p_value(self) -> float | None:
        """The p-value of the absolute difference; None where no test can be made."""
        return self.absolute.p_value if self.absolute else None
