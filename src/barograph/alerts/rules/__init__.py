"""Kinds of rules: what each asks, and what number it compares with its limits."""
