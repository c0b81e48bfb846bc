"""Series in the notation of promtool's rule tests: ``1 2 _ NaN stale 0+10x5 7x3 _x4``."""

from __future__ import annotations

import re

from barograph.alerts.prometheus.expression import NAME
from barograph.alerts.prometheus.samples import STALE, Samples

_SERIES = re.compile(r"([a-zA-Z_:][\w:]*)?\s*(?:\{(.*)\})?\s*", re.ASCII)
_LABEL = re.compile(r'\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?', re.ASCII)
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+|[iI]nf)"
_STEPS = re.compile(rf"({_NUMBER})([+-](?:\d+(?:\.\d*)?|\.\d+))?x(\d+)")

Sample = float | None


def labels_of(series: str) -> dict[str, str]:
    """The labels of ``name{label="value"}``, the name among them."""
    found = _SERIES.fullmatch(series)
    assert found, series
    labels = {name: value.replace(r"\"", '"').replace(r"\\", "\\") for name, value in _LABEL.findall(found[2] or "")}
    return labels | ({NAME: found[1]} if found[1] else {})


def values_of(text: str) -> list[tuple[int, Sample]]:
    """Places (0 is the first interval) and samples; what is left out has none, and STALE ends the series."""
    place, samples = 0, list[tuple[int, Sample]]()
    for word in text.split():
        steps = _STEPS.fullmatch(word)
        if word == "_" or re.fullmatch(r"_x\d+", word):
            place += int(word[2:] or 1)
            continue
        if steps:
            first, change = float(steps[1]), float(steps[2] or 0)
            values: list[Sample] = [first + i * change for i in range(int(steps[3]) + 1)]
        else:
            values = [STALE if word == "stale" else float(word)]
        samples += [(place + i, value) for i, value in enumerate(values)]
        place += len(values)
    return samples


def fill(samples: Samples, series: str, values: str, interval: float) -> None:
    """Add a series of that notation, from the Unix epoch on."""
    for place, value in values_of(values):
        samples.add(labels_of(series), place * interval, value)
