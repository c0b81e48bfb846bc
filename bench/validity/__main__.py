"""``make validity``: simulate, show progress, write docs/validity.md; 1 when a method does not hold what it claims.

``--repetitions`` changes the number for the settings under peeking; the other parts follow in proportion. The page is
written with ``--write``; without it, it goes to the standard output.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from bench.validity import single, study
from bench.validity.report import failures, page

ROOT = Path(__file__).resolve().parents[2]
REPETITIONS = 20_000
PROCESSES = 2
BANDIT_PART, QUANTILE_PART = 100, 20  # one repetition of these for so many of the others

Parts = TypeVar("Parts")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repetitions", type=int, default=REPETITIONS)
    arguments.add_argument("--write", action="store_true", help="write docs/validity.md")
    options = arguments.parse_args()
    n, began = options.repetitions, monotonic()
    with ProcessPoolExecutor(PROCESSES) as pool:
        peeking = [pool.submit(study.peeking, *cell, n) for cell in study.cells()]
        finding = [pool.submit(study.finding, *setting, n) for setting in study.settings()]
        lines: list[Future[list[single.Line]]] = [
            pool.submit(single.one_arm, max(n // 2, 1)),
            pool.submit(single.quantiles, max(n // QUANTILE_PART, 1)),
            pool.submit(single.sample_ratios, n),
            pool.submit(single.users, n),
            pool.submit(single.adaptive, max(n // 4, 1)),
        ]
        regret = pool.submit(single.bandit, max(n // BANDIT_PART, 1))
        everything: list[Future[Any]] = [*peeking, *finding, *lines, regret]
        for done, _ in enumerate(as_completed(everything), start=1):
            print(f"\r{done} of {len(everything)} parts, {monotonic() - began:.0f} s", end="", file=sys.stderr)
        print(file=sys.stderr)
    cells, found, told = _all(peeking), _all(finding), _all(lines)
    text = page(cells, found, told, regret.result(), n)
    if options.write:
        (ROOT / "docs" / "validity.md").write_text(text, encoding="utf-8")
    else:
        print(text)
    wrong = failures(cells, found, told)
    for line in wrong:
        print(f"above its rate: {line}", file=sys.stderr)
    return 1 if wrong else 0


def _all(futures: list[Future[list[Parts]]]) -> list[Parts]:
    return [one for future in futures for one in future.result()]


if __name__ == "__main__":
    sys.exit(main())
