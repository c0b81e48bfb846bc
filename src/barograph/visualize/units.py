"""The labels of a value axis: one scale and one unit, and as many decimals as tell its ticks apart.

Reads numbers; hands texts to ``axes`` and the renderers. Single numbers are written by ``core.unit``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from barograph.core.unit import HUGE, MINUS, SECONDS, significant, thousands
from barograph.visualize.hostile import clean
from barograph_client.errors import NARROW_SPACE


def axis_scale(highest: float, unit: str) -> tuple[float, str]:
    """What the numbers of an axis that reaches to ``highest`` are divided by, and what stands behind each."""
    if unit == "s":
        for least, divisor, name in SECONDS:
            if highest >= least:
                return divisor, f" {name}"
        return (1e-6, " µs") if highest else (1.0, " s")
    if unit == "ratio":
        return 0.01, f"{NARROW_SPACE}%"
    if unit == "%":
        return 1.0, f"{NARROW_SPACE}%"
    if unit in ("rating", "score", ""):
        return 1.0, ""
    if unit in ("1", "USD", "1/min") and highest < 1e4:
        return 1.0, "/min" if unit == "1/min" else ""
    divisor, prefix = thousands(highest)
    plain = {"1": "", "USD": "", "tokens": "", "1/min": "/min"}
    name = plain[unit] if unit in plain else clean(unit, 12)
    if name.startswith("/"):
        return divisor, (f" {prefix}" if prefix else "") + name
    return divisor, f" {prefix}{name}".rstrip()


def axis_labels(ticks: Sequence[float], unit: str, *, ascii_only: bool = False) -> list[str]:
    """The labels of an axis: one scale, and as many decimals as tell the ticks apart, on all of them."""
    highest = max((abs(tick) for tick in ticks), default=0.0)
    divisor, tail = axis_scale(highest, unit)
    tail = clean(tail, 10, ascii_only=True) if ascii_only else tail
    scaled = [tick / divisor for tick in ticks]
    if highest / divisor >= HUGE:
        texts = [significant(abs(number)) for number in scaled]
    else:
        step = min((abs(b - a) for a, b in pairwise(scaled)), default=0.0)
        decimals = next((d for d in range(7) if abs(round(step, d) - step) < step * 1e-6), 7) if step else 0
        if step and step < 1e-6:
            texts = [significant(abs(number)) for number in scaled]
        else:
            texts = [f"{abs(number):,.{decimals}f}" for number in scaled]
    sign = "-" if ascii_only else MINUS
    money = "$" if unit == "USD" else ""
    return [
        (sign if tick < 0 else "") + money + text + tail for tick, text in zip(ticks, texts, strict=True)
    ]  # fmt: skip
