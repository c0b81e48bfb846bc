"""One chart specification and what draws it."""
