"""`python -m bench.nab`: the detector held against the Numenta Anomaly Benchmark, and against faults of known size.

One fixed configuration for every series. Prints tables; the last line is JSON with the three scores. Reads
../shared/data/nab_public, or the folder in BAROGRAPH_NAB_DATA of the same layout; without it, or when something in it
cannot be read, the command fails. What is left out of the score is told on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from time import process_time
from typing import NamedTuple

import msgspec
import numpy as np

from barograph.core.unit import counted
from barograph.stats.baseline import START, Detector, Sensitivity
from barograph.stats.packed import to_text
from bench.nab import injection
from bench.nab.corpus import FOLDER, Corpus, CorpusError, Labelled, load
from bench.nab.scorer import PROFILES, best_threshold, normalised, points, prepared, probation
from bench.part import ROOT

SHARED = ROOT.parent / "shared" / "data"
SENSITIVITY = Sensitivity()  # one false alarm a week of five-minute points, whatever the series' own interval
THRESHOLD = START  # rows without an alarm score 0, those with one their detector's score, which is above this
NULL_SERIES, NULL_WEEKS = 4, 8
PROMISES = (0.25, 1.0, 7.0)  # false alarms a week
POWER_SERIES = 10


class Judged(NamedTuple):
    """A series and what the detector made of it: a score a row, seconds of CPU, bytes of state."""

    series: Labelled
    scores: list[float]
    seconds: float
    state: int


def main() -> int:
    """Measure and print; 2 when the data are not there, or cannot be scored."""
    folder = Path(os.environ.get(FOLDER) or SHARED / "nab_public")
    try:
        corpus = load(folder)
    except CorpusError as error:
        print(f"Nothing was scored: {error}", file=sys.stderr)
        return 2
    for note in _left_out(corpus):
        print(note, file=sys.stderr)
    rows = sum(len(one.rows.times) for one in corpus.series)
    print(f"{len(corpus.series)} series, {rows:,} rows, from {os.path.relpath(folder)}")
    print(f"Every series: {SENSITIVITY.false_alarms_per_week:g} false alarms expected in {injection.WEEK:,} points\n")
    judged = [judge(one) for one in corpus.series]
    _print_table(_by_series(judged))
    _print_table(_costs(judged))
    for source in filter(None, (injection.azure(), injection.mooncake(SHARED / "mooncake_fast25"))):
        _print_table(_nulls(source))
        _print_table(_powers(source))
    figures, lines = _scores(judged)
    _print_table(lines)
    print(msgspec.json.encode(figures).decode())
    return 0


def _left_out(corpus: Corpus) -> list[str]:
    """What is in the folder and not in the score, a line each."""
    lines = []
    for one in corpus.series:
        if lost := one.rows.without:
            told = f"{counted(len(lost), 'row')} without a value left out, the first in line {lost[0]:,}"
            lines.append(f"{one.name}: {told}")
    lines += [f"{name}: left out, it has windows but no file" for name in corpus.without_file]
    lines += [f"{name}: left out, it has a file but no entry among the windows" for name in corpus.without_entry]
    return lines


def judge(series: Labelled) -> Judged:
    """Run the detector over the rows in their order."""
    detector, began = Detector(SENSITIVITY), process_time()
    verdicts = [detector.update(at, value) for at, value in zip(series.rows.times, series.rows.values, strict=True)]
    seconds = process_time() - began
    scores = [verdict.score if verdict.alarm else 0.0 for verdict in verdicts]
    return Judged(series, scores, seconds, len(to_text(detector.state())))


def _by_series(judged: Sequence[Judged]) -> list[list[str]]:
    lines = [["Series", "rows", "windows", "found", "false alarms", "points of at most"]]
    for one in judged:
        prepared_series = prepared(one.series.rows.times, one.scores, one.series.windows, PROFILES["standard"])
        earned = points(prepared_series, THRESHOLD, PROFILES["standard"])
        hit = prepared_series.window[prepared_series.scores >= THRESHOLD]
        found, windows = np.unique(hit[hit >= 0]).size, len(one.series.windows)
        false = f"{earned.false_positives}"
        lines.append(
            [one.series.name, f"{len(one.scores):,}", f"{windows}", f"{found}", false, f"{earned.raw:.2f} of {windows}"]
        )
    return lines


def _costs(judged: Sequence[Judged]) -> list[list[str]]:
    alarms, weeks, rows = 0, 0.0, 0
    for one in judged:
        skipped = probation(len(one.scores))
        series = prepared(one.series.rows.times, one.scores, one.series.windows, PROFILES["standard"])
        alarms += points(series, THRESHOLD, PROFILES["standard"]).false_positives
        weeks += (one.series.rows.times[-1] - one.series.rows.times[skipped]).total_seconds() / (7 * 86_400)
        rows += len(one.scores) - skipped
    seconds, all_rows = sum(one.seconds for one in judged), sum(len(one.scores) for one in judged)
    states = [one.state for one in judged]
    return [
        ["Costs", ""],
        ["false alarms a series and week, by the series' own clock", f"{alarms / weeks:.2f}"],
        [f"false alarms in {injection.WEEK:,} points", f"{alarms / rows * injection.WEEK:.2f}"],
        ["CPU a point, µs", f"{seconds / all_rows * 1e6:.1f}"],
        ["state as text, bytes: mean, most", f"{fmean(states):,.0f}, {max(states):,}"],
    ]


def _nulls(source: injection.Drawn) -> list[list[str]]:
    """Alarms of series in which nothing happens, beside what was promised."""
    lines = [[f"Nothing wrong ({source.name})", "promised a week", "in the first week: mean, most", "a week after it"]]
    for told, block in (("shuffled", 1), (f"blocks of {injection.BLOCK} points", injection.BLOCK)):
        series = [
            injection.drawn(source, NULL_WEEKS * injection.WEEK, np.random.default_rng(seed), block)
            for seed in range(NULL_SERIES)
        ]
        for promised in PROMISES:
            weeks = [injection.alarms_by_week(one, Sensitivity(false_alarms_per_week=promised)) for one in series]
            first = [week[0] for week in weeks]
            later = fmean(fmean(week[1:]) for week in weeks)
            lines.append([told, f"{promised:g}", f"{fmean(first):.1f}, {max(first)}", f"{later:.2f}"])
    return lines


def _powers(source: injection.Drawn) -> list[list[str]]:
    lines = [[f"Faults ({source.name})", "size", "share found (median delay, points), by size"]]
    measured = injection.power(source, SENSITIVITY, POWER_SERIES)
    for (fault, unit), group in groupby(measured, key=lambda one: (one.fault, one.unit)):
        told = [
            f"{one.size:g}: {one.found:.0%}" + (f" ({one.delay:.0f})" if one.delay is not None else "") for one in group
        ]
        lines.append([fault, unit, "   ".join(told)])
    return lines


def _scores(judged: Sequence[Judged]) -> tuple[dict[str, float], list[list[str]]]:
    lines = [["Score", "fixed", "had the best threshold been known"]]
    figures = {}
    alarms = sorted({score for one in judged for score in one.scores if score})
    candidates = [THRESHOLD, *np.quantile(alarms, np.linspace(0, 1, 101))] if alarms else [THRESHOLD]
    for name, profile in PROFILES.items():
        corpus = [prepared(one.series.rows.times, one.scores, one.series.windows, profile) for one in judged]
        figures[name] = round(normalised(corpus, THRESHOLD, profile), 3)
        at, best = best_threshold(corpus, profile, candidates)
        lines.append([name, f"{figures[name]:.1f}", f"{best:.1f} (alarms of a score from {at:.2f})"])
    return figures, lines


def _print_table(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    for number, line in enumerate(lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
