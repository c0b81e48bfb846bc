"""Define, assign, expose, compare."""
