"""What of Barograph runs inside other people's programs. It needs msgspec and nothing else."""

from __future__ import annotations

__version__ = "0.1.0"
