"""Floor 0: errors, clock, identifiers, events, metrics, questions and settings; imports nothing of ours."""
