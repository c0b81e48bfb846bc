"""What the detector saw, in words: the sentence that stands in an alert.

Reads a verdict of ``baseline``; the caller says how its numbers are written.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from barograph.stats.baseline import Verdict
from barograph.stats.evidence import LONG, SHORT, VARIANCE, Feature, Finding

UNUSUAL = 2.0  # robust standard deviations from which a feature is told of
MOST = 3  # features told of: the farthest off come first
WORTH_TELLING = 0.05  # a ratio nearer to one than this says nothing
_NAMES: dict[Feature, str] = {
    "point": "the last point",
    "short mean": f"mean of the last {SHORT} points",
    "long mean": f"mean of the last {LONG} points",
    "spread": f"standard deviation of the last {VARIANCE} points",
}


def explain(verdict: Verdict, number: Callable[[float], str]) -> str:
    """``mean of the last 20 points 2.9 s, usual 1.1 s (0.9 s to 1.4 s), 2.6 times; variance normal; no daily …``.

    ``number`` writes a value of the series with its unit. In brackets stand the quartiles of the past; "usual" is
    its median. The features that are far off are told, the farthest first; where none is by itself, the farthest.
    """
    if not verdict.findings:
        return "the point is missing" if not verdict.learning else "too few points to say what is usual"
    ranked = sorted(verdict.findings, key=lambda finding: -finding.z)
    unusual = [finding for finding in ranked if finding.z >= UNUSUAL] or ranked[:1]
    told: dict[Feature, Finding] = {}
    for finding in unusual:
        told.setdefault(finding.feature, finding)
    parts = [_sentence(finding, verdict.pattern or "", number) for finding in list(told.values())[:MOST]]
    if "spread" not in told and any(finding.feature == "spread" for finding in ranked):
        parts.append("variance normal")
    parts.append(f"{verdict.pattern} pattern taken off" if verdict.pattern else "no daily or weekly pattern used")
    if verdict.learning:
        parts.append("still learning what is usual")
    return "; ".join(parts)


def _sentence(finding: Finding, pattern: str, number: Callable[[float], str]) -> str:
    name = _NAMES[finding.feature] + (f" less the {pattern} pattern" if finding.residual else "")
    if finding.feature == "spread":
        low, usual, high, value = (
            number(math.exp(logarithm / 2)) for logarithm in (finding.low, finding.usual, finding.high, finding.value)
        )
        times = math.exp(min(max((finding.value - finding.usual) / 2, -700.0), 700.0))
    else:
        low, usual, high, value = (number(level) for level in (finding.low, finding.usual, finding.high, finding.value))
        times = _times(finding)
    text = f"{name} {value}, usual {usual} ({low} to {high})"
    return text if abs(times - 1) < WORTH_TELLING else f"{text}, {times:.2g} times"


def _times(finding: Finding) -> float:
    """How many times the usual level; 1, which is not told, where a ratio has no meaning."""
    if finding.residual or finding.usual <= 0 or finding.value <= 0:
        return 1.0
    return finding.value / finding.usual
