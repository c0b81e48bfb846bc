"""The page docs/validity.md, from what was counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from barograph.stats.sequential import asymptotic
from bench.validity.draws import SPLITS
from bench.validity.methods import ALPHA, METHODS, PLANNED_LOOKS
from bench.validity.single import PERIODS, SHARES, UNITS_A_PERIOD, USERS, Line, Regret
from bench.validity.study import FIRST_LOOKS, SURELY, UNITS, Cell, Found, Rate

NOT_VALID = "not valid here"
_HEADING = "\n\n## "
SELDOM = 0.995  # a share of repetitions that reported, below which it is told


class Section(NamedTuple):
    """A part of the page that is written where it is measured, and what of it does not hold, one a line."""

    text: str
    faults: tuple[str, ...] = ()


def page(
    cells: Sequence[Cell],
    found: Sequence[Found],
    lines: Sequence[Line],
    regret: Regret,
    repetitions: int,
    sections: Sequence[Section] = (),
) -> str:
    """The whole page. The tables tell their own number of repetitions."""
    failed = failures(cells, found, lines, sections)
    told = "ABOVE ITS RATE: see **bold**." if failed else "No method that claims to hold its rate was above it."
    parts = [
        "# Validity: error rates, measured",
        "Written by `make validity`, from fixed seeds. A method that looks again and again keeps its rate of false "
        f'positives at or below α = {ALPHA:g}, or says "{NOT_VALID}". A rate counts as above α when its one-sided '
        f"bound (Clopper-Pearson, {1 - SURELY:.1%}) is; it is then **bold** where the method claims otherwise. {told}",
        _gate(),
        "## False positives under peeking",
        f"{repetitions:,} repetitions a setting, {UNITS:,} units in both arms, no effect. Looks come from the first "
        "one on (units in the smaller arm), at each tenth more of units. A rate is the share of repetitions with a "
        "false positive at any look at which the method reported. Where it did not report in all of them, the share of "
        "those in which it did, and the rate among them, stand beside it. "
        f"*Bounded means by period* is for values in [0, 1]. Group-sequential bounds are for {PLANNED_LOOKS} planned "
        "looks and no more, behind the same gate; they spend all of α by design and are as near to it as a t test is. "
        "The last two columns are not offered; they show what looking costs.",
        table(["Values", "split", "first look", *(method.name for method in METHODS)], _peeking_rows(cells)),
        "## Power, and coverage where one stops",
        f"{_repetitions(found):,} repetitions a setting. The effect is one that Welch's t test finds in 80 % at the "
        "planned end. One stops at the first look that is sure of an effect, or at the end; *units* is the mean share "
        "of the planned ones that this took, *missed* how often the interval at that look leaves out the true effect.",
        table(["Effect", "split", "method", "power", "t test at the end", "units", "missed"], _found_rows(found)),
        "## Everything else",
        f"Users: {USERS} users randomised with 1 to 200 queries each. The naive test, which takes each query for a "
        "unit of its own, stands beside the test by user to show why it is offered nowhere.",
        table(["What", "false positives", "repetitions"], _line_rows(lines)),
        "## Regret of the bandit",
        f"Three arms with {', '.join(f'{share:.0%}' for share in SHARES)} successes, {PERIODS} periods of "
        f"{UNITS_A_PERIOD} units, {regret.repetitions:,} repetitions: Thompson sampling with the exact probability to "
        f"be the best loses {regret.thompson:.0f} successes against always the best arm, equal shares lose "
        f"{regret.equal:.0f}. The best arm gets {regret.best_share:.0%} of the units.",
        *(section.text for section in sections),
    ]
    return "\n\n".join(parts) + "\n"


def with_sections(text: str, sections: Sequence[Section]) -> str:
    """A page with these sections in the place of those of the same heading, or at its end."""
    parts = text.rstrip("\n").split(_HEADING)
    for section in sections:
        new = section.text.rstrip("\n").split(_HEADING[2:], 1)[1]
        heading = new.split("\n", 1)[0]
        at = next((i for i, part in enumerate(parts) if part.split("\n", 1)[0] == heading), len(parts))
        parts[at : at + 1] = [new]
    return _HEADING.join(parts) + "\n"


def failures(
    cells: Sequence[Cell], found: Sequence[Found], lines: Sequence[Line], sections: Sequence[Section] = ()
) -> list[str]:
    """What is above the rate that it claims, one a line."""
    told = [f"{c.method}, {c.distribution}, {c.split}, from {c.first_look}: {c.rate}" for c in cells if c.fails]
    told += [f"{one.method}, {one.setting}, {one.split}: missed {one.missed}" for one in found if one.fails]
    told += [f"{line.name}: {line.rate}" for line in lines if line.fails]
    return told + [fault for section in sections for fault in section.faults]


def _gate() -> str:
    most = asymptotic.LARGEST_SKEW
    return (
        "## The gate of the asymptotic sequence\n\n"
        "An asymptotic confidence sequence is right for large numbers only. It reports from "
        f"{asymptotic.FEWEST_UNITS} units in each arm on, and while the values' skewness over the root of the smaller "
        f"arm's units is at most {most:g}: a skewness of {most * 10:g} with 100 units, of {most * 100:g} with 10,000. "
        "The larger skewness of the two arms counts: by its own, a small arm passes when it has seen fewer of the rare "
        "values, and then its mean is off. Kurtosis does not count. Metrics that the gate refuses can be capped, or, "
        "when they are bounded, compared by period without any gate."
    )


def _peeking_rows(cells: Sequence[Cell]) -> Iterable[list[str]]:
    by_key = {(c.distribution, c.split, c.first_look, c.method): c for c in cells}
    names = list(dict.fromkeys(cell.distribution for cell in cells))
    for name in names:
        for split in SPLITS:
            for first in FIRST_LOOKS:
                row = [by_key[name, split, first, method.name] for method in METHODS]
                yield [name, f"{split[0]}:{split[1]}", f"{first}", *map(_cell, row)]


def _cell(cell: Cell) -> str:
    if not cell.reported:
        return NOT_VALID
    told, share = rate_text(cell.rate, cell.fails), cell.reported / cell.rate.repetitions
    if share >= SELDOM:
        return told
    return f"{told} ({share:.1%} report, {cell.rate.wrong / cell.reported:.3f} of these)"


def rate_text(rate: Rate, fails: bool) -> str:
    return f"**{rate.value:.4f}**" if fails else f"{rate.value:.4f}"


def _found_rows(found: Sequence[Found]) -> Iterable[list[str]]:
    for one in found:
        missed = rate_text(one.missed, one.fails) if one.missed.repetitions else NOT_VALID
        split, fixed = f"{one.split[0]}:{one.split[1]}", f"{one.fixed_power:.0%}"
        yield [one.setting, split, one.method, f"{one.power:.0%}", fixed, f"{one.units:.0%}", missed]


def _line_rows(lines: Sequence[Line]) -> Iterable[list[str]]:
    for line in lines:
        yield [line.name, rate_text(line.rate, line.fails), f"{line.rate.repetitions:,}"]


def _repetitions(found: Sequence[Found]) -> int:
    return max((one.missed.repetitions for one in found), default=0)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The rows as a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
