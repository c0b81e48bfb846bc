"""``make validity``: simulate, show progress, write docs/validity.md; 1 when a method does not hold what it claims.

``--repetitions`` changes the number for the settings under peeking; the other parts follow in proportion. The page is
written with ``--write``; without it, it goes to the standard output. ``--only`` measures some of the sections at the
end of the page, which go through more than a formula, and leaves the rest of the page as it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from bench.validity import interleaving, looks, sample_ratio, single, study, through_server, unit_days
from bench.validity.report import Section, failures, page, with_sections

PAGE = Path(__file__).resolve().parents[2] / "docs" / "validity.md"
REPETITIONS = 20_000
PROCESSES = 2
BANDIT_PART, QUANTILE_PART = 100, 20  # one repetition of these for so many of the others

Parts = TypeVar("Parts")


class Measured(NamedTuple):
    """What makes a section of so many repetitions, one for so many (``part``) of the simulations'."""

    measure: Callable[[int], Section]
    part: int


SECTIONS = {
    "through-server": Measured(through_server.measured, 20),
    "interleaving": Measured(interleaving.measured, 20),
    "unit-days": Measured(unit_days.measured, 20),
    "looks": Measured(looks.measured, 50),
    "sample-ratio": Measured(sample_ratio.measured, 2),
}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repetitions", type=int, default=REPETITIONS)
    arguments.add_argument("--write", action="store_true", help="write docs/validity.md")
    arguments.add_argument("--only", action="append", choices=SECTIONS, help="this section alone; may be repeated")
    options = arguments.parse_args()
    n, began = options.repetitions, monotonic()
    with ProcessPoolExecutor(PROCESSES) as pool:
        chosen = [SECTIONS[name] for name in options.only or SECTIONS]
        measuring = [pool.submit(one.measure, max(n // one.part, 1)) for one in chosen]
        if options.only:
            sections = [one.result() for one in measuring]
            text = with_sections(PAGE.read_text(encoding="utf-8"), sections)
            return _finish(text, failures([], [], [], sections), options.write)
        peeking = [pool.submit(study.peeking, *cell, n) for cell in study.cells()]
        finding = [pool.submit(study.finding, *setting, n) for setting in study.settings()]
        lines: list[Future[list[single.Line]]] = [
            pool.submit(single.one_arm, max(n // 2, 1)),
            pool.submit(single.quantiles, max(n // QUANTILE_PART, 1)),
            pool.submit(single.users, n),
            pool.submit(single.adaptive, max(n // 4, 1)),
        ]
        regret = pool.submit(single.bandit, max(n // BANDIT_PART, 1))
        everything: list[Future[Any]] = [*measuring, *peeking, *finding, *lines, regret]
        for done, _ in enumerate(as_completed(everything), start=1):
            print(f"\r{done} of {len(everything)} parts, {monotonic() - began:.0f} s", end="", file=sys.stderr)
        print(file=sys.stderr)
    cells, found, told, sections = _all(peeking), _all(finding), _all(lines), [one.result() for one in measuring]
    text = page(cells, found, told, regret.result(), n, sections)
    return _finish(text, failures(cells, found, told, sections), options.write)


def _finish(text: str, wrong: Sequence[str], write: bool) -> int:
    if write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)
    for line in wrong:
        print(f"above its rate: {line}", file=sys.stderr)
    return 1 if wrong else 0


def _all(futures: list[Future[list[Parts]]]) -> list[Parts]:
    return [one for future in futures for one in future.result()]


if __name__ == "__main__":
    sys.exit(main())
