"""Pure functions on numbers: summaries that add up, comparisons, tests."""
