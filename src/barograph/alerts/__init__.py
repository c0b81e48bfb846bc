"""Rules, states, transitions."""
