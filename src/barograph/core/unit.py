"""Numbers as people read them: a value and its unit as plain text.

Used by alert sentences, by analytics' reasons and by whatever draws. At most three significant digits (money to
the cent, small counts exact), a true minus sign, a narrow space before a per cent sign; ``ascii_only`` gives a
text that any terminal, log or mail shows. What was not measured is said, never shown as zero.
"""

from __future__ import annotations

import math

from barograph.core.errors import shorten

MINUS = "\u2212"
NARROW_SPACE = "\u202f"
NO_DATA = "no data"

_TO_ASCII = str.maketrans({MINUS: "-", NARROW_SPACE: " ", "µ": "u", "∞": "inf"})
_UNIT_LENGTH = 16  # characters of a unit that is not the catalogue's
_EXPONENT_FROM = 1e15  # above this digits say nothing any more
_EXACT_COUNT = 10_000  # below this a count is shown to the last one
_LARGE = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SUFFIX = {"tokens": " tokens", "1/min": "/min", "rating": "/5.0"}


def counted(number: int, thing: str, things: str = "") -> str:
    """``1 event``, ``1,234 events``; ``things`` where the plural is not made with an s."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def format_value(value: float | None, unit: str, *, precise: bool = False, ascii_only: bool = False) -> str:
    """``7.2 s``, ``0.4 %``, ``$15.32``, ``4.2/5.0``, ``19.4k tokens``; ``no data`` for None and NaN.

    ``unit`` is a unit of the catalogue; an unknown one is put behind the number as it stands. ``precise`` gives up
    to six significant digits, for telling a value from a threshold that would read the same.
    """
    if value is None or math.isnan(value):
        return NO_DATA
    money = "$" if unit == "USD" else ""
    text = f"{money}∞" if math.isinf(value) else _finite(abs(value), unit, precise)
    negative = value < 0 and any(c in "123456789∞" for c in text)
    text = f"{MINUS}{text}" if negative else text
    return text.translate(_TO_ASCII) if ascii_only else text


def _finite(value: float, unit: str, precise: bool) -> str:
    if unit == "s":
        return _seconds(value, precise)
    if unit == "USD":
        return _dollars(value, precise)
    if unit in ("ratio", "%"):
        return f"{_plain(value * 100 if unit == 'ratio' else value, precise)}{NARROW_SPACE}%"
    if unit == "rating":
        return f"{value:.6g}/5.0" if precise or value >= _EXPONENT_FROM else f"{value:.1f}/5.0"
    if unit == "score":
        return f"{value:.6g}" if precise else _trim(f"{value:.2f}") if 0.0095 < value < 10 else _plain(value, precise)
    if unit == "B":
        return _large(value, " ", precise) + "B"
    suffix = _SUFFIX.get(unit, "" if unit in ("", "1") else f" {shorten(unit, _UNIT_LENGTH)}")
    return _large(value, "", precise) + suffix


def _seconds(value: float, precise: bool) -> str:
    if value and round(value, 9) < 1e-3:
        return f"{_plain(value * 1e6, precise)} µs"
    if value and round(value * 1e3, 4 if precise else 0) < 1e3:
        return f"{_plain(value * 1e3, precise)} ms"
    if value < 120 or precise:
        return f"{_plain(value, precise)} s"
    whole = round(value)
    if whole < 7200:
        minutes, seconds = divmod(whole, 60)
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(round(value / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{_plain(value / 86400, precise)} d"


def _dollars(value: float, precise: bool) -> str:
    if value >= _EXPONENT_FROM:
        return f"${value:.3g}"
    if value == 0 or round(value, 2) >= 0.01:
        return f"${value:,.6g}" if precise and round(value, 2) != value else f"${value:,.2f}"
    return f"${_decimal(value, 6 if precise else 2)}"


def _large(value: float, space: str, precise: bool) -> str:
    """With an SI prefix from ten thousand on; the space stands between the number and the unit."""
    if value >= _EXPONENT_FROM:
        return f"{value:.3g}{space}"
    if value < _EXACT_COUNT:
        text = f"{value:,.0f}" if value == int(value) and value >= 1000 else _plain(value, precise)
        return text + space
    for factor, letter in _LARGE:
        if round(value / factor, 2) >= 1:
            return f"{_plain(value / factor, precise)}{space}{letter}"
    return f"{value:,.0f}{space}"


def _plain(value: float, precise: bool) -> str:
    """One decimal below a hundred, none above; small numbers keep two significant digits."""
    if value >= _EXPONENT_FROM:
        return f"{value:.3g}"
    if precise:
        return _decimal(value, 6)
    if 0 < value < 0.095:
        return _decimal(value, 2)
    return _trim(f"{value:.1f}") if value < 99.95 else f"{value:,.0f}"


def _decimal(value: float, significant: int) -> str:
    """So many significant digits without an exponent, however small (below 1e-12 it is zero)."""
    if value < 1e-12:
        return "0"
    decimals = max(0, significant - 1 - math.floor(math.log10(value)))
    return _trim(f"{value:,.{decimals}f}")


def _trim(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
