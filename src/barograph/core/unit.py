"""Numbers as people read them, by unit: ``1.2 s``, ``340 ms``, ``$15.32``, ``0.4 %``, ``1.2 M``, ``1.5 GB``.

Used by sentences of alerts and analytics and by whatever draws. At most three significant digits (money keeps its
cents, counts their thousands), a true minus sign, a narrow no-break space before the per cent sign; ``ascii_only``
gives a text that any terminal, log or mail shows. What was not measured is said, never shown as zero.
"""

from __future__ import annotations

import math

from barograph_client.errors import NARROW_SPACE, shorten

MINUS = "\u2212"
DIGITS = 3
PRECISE_DIGITS = 6
HUGE = 1e15  # beyond it a number is written with an exponent
SECONDS = (  # from how many seconds on a duration is written in which unit
    (86400.0 * 2, 86400.0, "d"),
    (3600.0, 3600.0, "h"),
    (60.0, 60.0, "min"),
    (1.0, 1.0, "s"),
    (1e-3, 1e-3, "ms"),
)
_THOUSANDS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_LARGEST = 9e307  # rounding what is larger overflows
_MOST_STARS = 1000.0  # a rating beyond it is none
_UNIT_LENGTH = 12  # characters of a unit that is not the catalogue's
_TO_ASCII = str.maketrans({MINUS: "-", NARROW_SPACE: " ", "µ": "u", "∞": "inf", "…": "."})


def counted(number: int, thing: str, things: str = "") -> str:
    """``1 event``, ``1,234 events``; ``things`` where the plural is not made with an s."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def missing(*, ascii_only: bool = False, headed: bool = True) -> str:
    """What stands where nothing was measured."""
    return "no data" if not headed else "n/a" if ascii_only else "–"


def format_value(
    value: float | None,
    unit: str = "1",
    *,
    headed: bool = False,
    signed: bool = False,
    precise: bool = False,
    ascii_only: bool = False,
) -> str:
    """The value with its unit; an unknown unit stands behind the number as it is.

    ``headed``: what the number counts stands above or before it, so that ``4.2/5.0``, ``340 tokens``, ``no data`` and
    ``2 min 5 s`` are ``4.2``, ``340``, ``–`` and ``2.08 min``. ``signed`` writes a plus too. ``precise`` gives six
    significant digits, for telling a value from a threshold that would read the same.
    """
    if value is None or math.isnan(value):
        return missing(ascii_only=ascii_only, headed=headed)
    digits = PRECISE_DIGITS if precise else DIGITS
    if math.isinf(value):
        text = "$∞" if unit == "USD" else "∞"
    else:
        text = _magnitude(min(abs(value), _LARGEST), unit, digits, headed)
    if any(c in "123456789∞" for c in text):
        text = MINUS + text if value < 0 else "+" + text if signed else text
    return text.translate(_TO_ASCII) if ascii_only else text


def _magnitude(value: float, unit: str, digits: int, headed: bool) -> str:
    """The size of a number, without its sign."""
    if unit == "s":
        return _spoken(value) if value >= 60 and digits == DIGITS and not headed else _duration(value, digits)
    if unit == "USD":
        return _money(value, digits)
    if unit in ("ratio", "%"):
        return _percent(value * 100 if unit == "ratio" else value, digits)
    if unit == "1":
        return _count(value, digits)
    if unit == "1/min":
        return f"{_count(value, digits)}/min"
    if unit == "rating" and not headed:
        short = digits == DIGITS and value < _MOST_STARS
        return f"{value:.1f}/5.0" if short else f"{significant(value, digits)}/5.0"
    if unit in ("rating", "score", ""):
        return significant(value, digits)
    divisor, prefix = thousands(value)
    number = significant(value / divisor, digits)
    if unit == "tokens":
        return " ".join(filter(None, (number, prefix, "" if headed else unit)))
    return f"{number} {prefix}{unit if unit == 'B' else shorten(unit, _UNIT_LENGTH)}"


def significant(value: float, digits: int = DIGITS) -> str:
    """The number in so many significant digits, without trailing zeros and without an exponent while readable."""
    if value == 0:
        return "0"
    value = max(-_LARGEST, min(value, _LARGEST))
    if not 1e-6 <= abs(value) < HUGE:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}"
    rounded = _rounded(value, digits)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _rounded(value: float, digits: int = DIGITS) -> float:
    return float(f"{value:.{digits - 1}e}")


def _duration(value: float, digits: int) -> str:
    if value == 0:
        return "0 s"
    value = _rounded(value, digits)  # before the unit is chosen: 999.6 ms is 1 s
    for least, divisor, name in SECONDS:
        if value >= least:
            return f"{significant(value / divisor, digits)} {name}"
    return f"{significant(value * 1e6, digits)} µs"


def _spoken(seconds: float) -> str:
    """A long duration in two units, as in ``2 h 58 min``."""
    whole = round(seconds)
    if whole < 7200:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return _duration(seconds, DIGITS)


def _money(value: float, digits: int) -> str:
    if digits > DIGITS and 0.995 <= value < 1e6 and round(value, 2) != value:
        return f"${significant(value, digits)}"
    if value >= 1e6:
        divisor, prefix = thousands(value)
        return f"${significant(value / divisor, digits)} {prefix}".rstrip()
    if value >= 999.995:
        return f"${value:,.0f}"
    if value >= 0.995 or value == 0:
        return f"${value:.2f}"
    text = significant(value, digits)
    if "e" in text:
        return f"${text}"
    whole, _, cents = text.partition(".")
    return f"${whole}.{cents:0<2}"


def _percent(value: float, digits: int) -> str:
    text = significant(value, digits)
    if value < 100 and text == "100":
        text = "99.9"  # almost all is not all
    return f"{text}{NARROW_SPACE}%"


def _count(value: float, digits: int) -> str:
    if value >= 999_999.5:
        divisor, prefix = thousands(value)
        return f"{significant(value / divisor, digits)} {prefix}".rstrip()
    if (value >= 1000 and digits == DIGITS) or value == int(value):
        return f"{value:,.0f}"
    return significant(value, digits)


def thousands(value: float) -> tuple[float, str]:
    """The power of a thousand that a number is written in, and its prefix."""
    if 0 < value < HUGE:
        value = _rounded(value)
        for power, prefix in _THOUSANDS:
            if value >= power:
                return power, prefix
    return 1.0, ""
