"""Tests and intervals that stay right however often one looks, and whenever one stops."""
