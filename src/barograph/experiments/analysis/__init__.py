"""What an experiment shows: from the units' moments that the store answers to a ``Comparison`` and ``Details``."""
