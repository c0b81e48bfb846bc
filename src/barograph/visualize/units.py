"""Numbers as people read them, by unit: ``1.2 s``, ``340 ms``, ``$15.32``, ``0.4 %``, ``1.2 M``, ``1.5 GB``.

At most three significant digits (money keeps its cents, counts their thousands), a true minus sign, a narrow
no-break space before the percent sign; plain ASCII on request. A missing number is ``–`` (``n/a`` in ASCII),
never zero. Reads nothing, hands texts to the renderers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from barograph.visualize.hostile import clean

MINUS = "\u2212"
NARROW_SPACE = "\u202f"
DIGITS = 3
_THOUSANDS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SECONDS = (
    (86400.0 * 2, 86400.0, "d"),
    (3600.0, 3600.0, "h"),
    (60.0, 60.0, "min"),
    (1.0, 1.0, "s"),
    (1e-3, 1e-3, "ms"),
)
_LARGEST = 9e307  # rounding what is larger overflows
_HUGE = 1e15  # beyond it a number is written with an exponent


def missing(*, ascii_only: bool = False) -> str:
    """What stands where nothing was measured."""
    return "n/a" if ascii_only else "–"


def format_value(
    value: float | None, unit: str = "1", *, ascii_only: bool = False, signed: bool = False, tile: bool = False
) -> str:
    """The value with its unit. ``signed`` writes a plus too; ``tile`` writes a rating as ``4.2/5.0``."""
    if value is None or not math.isfinite(value):
        return missing(ascii_only=ascii_only)
    text = _tile_rating(value) if tile and unit == "rating" else _magnitude(min(abs(value), _LARGEST), unit, ascii_only)
    if any("1" <= c <= "9" for c in text):
        if value < 0:
            return ("-" if ascii_only else MINUS) + text
        if signed:
            return "+" + text
    return text


def _tile_rating(value: float) -> str:
    return f"{abs(value):.1f}/5.0"


def _magnitude(value: float, unit: str, ascii_only: bool) -> str:
    """The size of a number, without its sign."""
    if unit == "s":
        return _duration(value, ascii_only)
    if unit == "USD":
        return _money(value)
    if unit in ("ratio", "%"):
        return _percent(value * 100 if unit == "ratio" else value, ascii_only)
    if unit == "1":
        return _count(value)
    if unit in ("tokens", "B"):
        divisor, prefix = _thousand(value)
        tail = f" {prefix}{'B' if unit == 'B' else ''}".rstrip()
        return significant(value / divisor) + tail
    if unit in ("rating", "score", ""):
        return significant(value)
    if unit == "1/min":
        return f"{_count(value)}/min"
    divisor, prefix = _thousand(value)
    return f"{significant(value / divisor)} {prefix}{clean(unit, 12, ascii_only=ascii_only)}"


def significant(value: float, digits: int = DIGITS) -> str:
    """The number in so many significant digits, without trailing zeros and without an exponent while readable."""
    if value == 0:
        return "0"
    value = max(-_LARGEST, min(value, _LARGEST))
    if not 1e-6 <= abs(value) < _HUGE:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS - 1}e}")


def _duration(value: float, ascii_only: bool) -> str:
    if value == 0:
        return "0 s"
    value = _rounded(value)  # before the unit is chosen: 999.6 ms is 1 s
    for least, divisor, name in _SECONDS:
        if value >= least:
            return f"{significant(value / divisor)} {name}"
    return f"{significant(value * 1e6)} {'us' if ascii_only else 'µs'}"


def _money(value: float) -> str:
    if value >= 1e6:
        divisor, prefix = _thousand(value)
        return f"${significant(value / divisor)} {prefix}".rstrip()
    if value >= 999.995:
        return f"${value:,.0f}"
    if value >= 0.995 or value == 0:
        return f"${value:.2f}"
    text = significant(value)
    if "e" in text:
        return f"${text}"
    whole, _, cents = text.partition(".")
    return f"${whole}.{cents:0<2}"


def _percent(value: float, ascii_only: bool) -> str:
    text = significant(value)
    if value < 100 and text == "100":
        text = "99.9"  # almost all is not all
    return f"{text}{' ' if ascii_only else NARROW_SPACE}%"


def _count(value: float) -> str:
    if value >= 999_999.5:
        divisor, prefix = _thousand(value)
        return f"{significant(value / divisor)} {prefix}".rstrip()
    if value >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return significant(value)


def _thousand(value: float) -> tuple[float, str]:
    """The power of a thousand that a number is written in, and its prefix."""
    if 0 < value < _HUGE:
        value = _rounded(value)
        for power, prefix in _THOUSANDS:
            if value >= power:
                return power, prefix
    return 1.0, ""


def axis_scale(highest: float, unit: str) -> tuple[float, str]:
    """What the numbers of an axis that reaches to ``highest`` are divided by, and what stands behind each."""
    if unit == "s":
        for least, divisor, name in _SECONDS:
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
    divisor, prefix = _thousand(highest)
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
    if highest / divisor >= _HUGE:
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
