"""Runs rule groups over series in promtool's notation and hands back what a timeline of Prometheus shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.series_notation import fill
from tests.support.series_rules import STATES, Refusal, Watch, read_groups

from barograph.alerts.lifecycle import LOOKBACK_SECONDS
from barograph.alerts.matcher import Matcher
from barograph.alerts.prometheus.expression import NAME
from barograph.alerts.prometheus.samples import Samples

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LETTER = {"pending": "P", "firing": "F"}

Timelines = dict[str, str]  # by the alert's labels as JSON: ``.`` inactive, ``P`` pending, ``F`` firing at each tick
Errors = list[tuple[str, float]]  # rule and seconds since the start


def run(case: Mapping[str, Any]) -> tuple[Timelines, Errors, list[Refusal]]:
    """The timelines, or the errors of the first tick that has any (promtool ends there), and what was refused."""
    groups, refusals = read_groups(case["rules"])
    samples = Samples()
    for series in case["series"]:
        fill(samples, series["series"], series["values"], case["interval_s"])
    watches = [Watch(group, samples) for group in groups]
    timelines: dict[str, list[str]] = {}
    for tick in range(case["ticks"]):
        at = tick * case["interval_s"]
        for watch in watches:
            watch.tick(EPOCH + timedelta(seconds=at))
        errors = [(rule, float(at)) for watch in watches for rule in watch.errors]
        if errors:
            return {}, errors, refusals
        for series in samples.select([Matcher(NAME, "=", STATES)]):
            if series.latest(at, LOOKBACK_SECONDS) is not None:
                shown = {name: text for name, text in series.labels.items() if name not in (NAME, "alertstate")}
                line = timelines.setdefault(json.dumps(shown, sort_keys=True), ["."] * case["ticks"])
                line[tick] = LETTER[series.labels["alertstate"]]
    return {labels: "".join(line) for labels, line in timelines.items()}, [], refusals
