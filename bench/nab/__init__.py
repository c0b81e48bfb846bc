"""The Numenta Anomaly Benchmark: its score computed from the formula, and the detector held against it."""
