"""Which arm a unit gets: a hash, and nothing else.

Deterministic and sticky without any memory: the same salt, arms and unit give the same arm in every process and
at any time. Runs inside the host program, so it imports nothing heavy; ``ab_test_framework`` makes an
``Assigner`` of each running experiment.

Each unit is placed twice, by independent halves of one 128-bit BLAKE2b digest (RFC 7693) of the salt and the
unit's id: where it stands in the coverage, and where among the arms. So raising the coverage only adds units,
and moves none between arms.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Sequence

from barograph_client.errors import InvalidExperiment

LONGEST_UNIT_ID = 256  # characters, as for every identifier of an event
_UNSEEN = 2**-53  # 53 bits are what a double holds: positions are exact, and never 1.0


class Assigner:
    """The arms of one experiment. ``arms`` are (key, weight) pairs whose weights sum to one; immutable."""

    __slots__ = ("_bounds", "_coverage", "_hash", "_keys")

    def __init__(self, salt: str, arms: Sequence[tuple[str, float]], coverage: float = 1.0) -> None:
        self._hash = hashlib.blake2b(salt.encode("utf-8", "surrogatepass") + b"\0", digest_size=16)
        self._coverage = coverage
        self._keys = tuple(key for key, _ in arms)
        last = max(index for index, (_, weight) in enumerate(arms) if weight > 0)
        weights = [weight for _, weight in arms]
        # From the last arm of positive weight on the bound is one, so that no rounding of the sum leaves a gap.
        self._bounds = [1.0 if index >= last else math.fsum(weights[: index + 1]) for index in range(len(arms))]

    def arm(self, unit_id: str) -> str | None:
        """The unit's arm, or None when it is outside the coverage. Raises InvalidExperiment for an unusable id."""
        standing, among_arms = self.place(unit_id)
        return None if standing >= self._coverage else self._keys[bisect_right(self._bounds, among_arms)]

    def place(self, unit_id: str) -> tuple[float, float]:
        """Where the unit stands in the coverage and among the arms: two uniform numbers in [0, 1)."""
        if not isinstance(unit_id, str) or not 0 < len(unit_id) <= LONGEST_UNIT_ID:
            raise _unusable(unit_id)
        digest = self._hash.copy()
        # surrogatepass: half a character from a faulty client is an id like any other, not an error in the host
        digest.update(unit_id.encode("utf-8", "surrogatepass"))
        bits = int.from_bytes(digest.digest(), "big")
        return (bits >> 75) * _UNSEEN, ((bits & 0xFFFFFFFFFFFFFFFF) >> 11) * _UNSEEN


def _unusable(unit_id: object) -> InvalidExperiment:
    if not isinstance(unit_id, str):
        return InvalidExperiment("a unit's id must be text", hint="Write str(id).", value=unit_id)
    if not unit_id:
        return InvalidExperiment("a unit's id is empty", hint="Give the user's or the session's id.")
    return InvalidExperiment(
        f"a unit's id has {len(unit_id):,} characters, more than {LONGEST_UNIT_ID}",
        hint="Hash it before it is handed over.",
        value=unit_id,
    )
