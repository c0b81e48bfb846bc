"""Rules over samples of series: from and to Prometheus, and evaluated without an engine."""
