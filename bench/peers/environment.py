"""A peer's own virtual environment under ``.bench/``: made once for a version, kept for the next run.

Nothing of a peer comes into Barograph's environment. Used by the command; the systems get its ``python``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.part import ROOT

HOME = ROOT / ".bench"
INSTALL_SECONDS = 1200.0


class NotThere(Exception):
    """A system cannot be installed or started; the message is what the table says of it."""


@dataclass(frozen=True)
class Environment:
    """One package in one version."""

    package: str
    version: str

    @property
    def directory(self) -> Path:
        return HOME / f"{self.package}-{self.version}"

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"

    @property
    def _whole(self) -> Path:
        """Written when the installation has ended well; one that was stopped half-way is made again."""
        return self.directory / ".whole"

    def prepare(self, *, install: bool) -> None:
        """Make it if it is not there. Raises NotThere with the reason."""
        if self._whole.exists():
            return
        wanted = f"{self.package}=={self.version}"
        if not install:
            raise NotThere(f"{wanted} is not installed")
        print(f"Installing {wanted} into {self.directory.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
        HOME.mkdir(exist_ok=True)
        _run([sys.executable, "-m", "venv", "--clear", str(self.directory)], wanted)
        pip = [str(self.python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        _run([*pip, wanted], wanted)
        self._whole.touch()


def _run(command: Sequence[str], wanted: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotThere(f"{wanted} cannot be installed ({type(error).__name__})") from error
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        raise NotThere(f"{wanted} cannot be installed: {reason(done.stderr) or f'code {done.returncode}'}")


def reason(said: str) -> str:
    """The last line that a program wrote before it failed, without addresses and paths, in bounded length."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")] or lines
    return re.sub(r"\S*/\S*", "…", errors[-1])[:200] if errors else ""
