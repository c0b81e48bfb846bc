"""What an experiment shows: from the units' moments that the store answers to a ``Comparison`` and ``Details``."""

from barograph.experiments.analysis.analyse import analyse as analyse
from barograph.experiments.analysis.analyse import check_guardrails as check_guardrails
