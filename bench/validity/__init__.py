"""Error rates under peeking, by simulation: what `make validity` runs and writes to docs/validity.md."""
