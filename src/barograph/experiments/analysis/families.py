"""Many questions at once: p-values of a declared family, where some could not be tested."""

from __future__ import annotations

from collections.abc import Sequence

from barograph.experiments.design import Correction
from barograph.stats.multiplicity import benjamini_hochberg, holm


def corrected(p_values: Sequence[float | None], correction: Correction = "holm") -> list[float | None]:
    """Corrected over those that could be tested; the others stay None."""
    correct = holm if correction == "holm" else benjamini_hochberg
    values = iter(correct([p for p in p_values if p is not None]))
    return [None if p is None else next(values) for p in p_values]
