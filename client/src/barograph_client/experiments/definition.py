"""What a program must know of an experiment to assign its arms: one ``Definition`` each, and the document of them all.

Made by the server from what people defined, fetched by ``definitions``, used by ``assignment``. It holds nothing of
metrics or verdicts.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from barograph_client.experiments.hashing import HashVersion

State = Literal["running", "paused", "stopped"]
Kind = Literal["arms", "interleaving"]
INTERLEAVED = "interleaved"  # the one arm of an interleaving experiment: each unit sees all of its rankers
LONGEST_UNIT_ID = 256  # characters, as for every identifier of an event


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One arm: its key, its share of the covered units, and the configuration that it stands for."""

    key: str
    weight: float
    payload: dict[str, Any] = {}


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a namespace that an experiment has: from ``start`` up to ``end``, both shares of its units.

    Experiments whose parts do not overlap have no unit in common, if their hash is the same.
    """

    name: str
    start: float = 0.0
    end: float = 1.0
    hash_version: Literal["barograph", "growthbook-v1"] = "barograph"


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes part in an experiment, and by what a unit's arm is decided, but for the arms themselves.

    ``coverage`` is the share of units that take part. ``condition`` is a targeting condition on attributes and
    ``groups`` the lists that it names. ``namespace`` is the part of one whose other parts are other experiments',
    ``holdout`` the share of the project's units that no experiment with a holdout sees. ``forced`` gives single units
    an arm, for tests. With ``sticky`` a unit keeps the arm it got, whatever the weights become;
    ``fallback_unit_kind`` is then used where there is no id of the unit's kind, ``bucket_version`` counts the times at
    which all were assigned anew, and who was assigned before ``min_bucket_version`` takes no part any more. A ``kind``
    of "interleaving" compares rankers inside each answer instead of between units: its arms are the rankers.
    """

    key: str
    project: str = "default"
    kind: Kind = "arms"
    control: str = ""
    unit_kind: str = "user"
    fallback_unit_kind: str = ""
    hash_version: HashVersion = "barograph"
    coverage: float = 1.0
    condition: dict[str, Any] = {}
    groups: dict[str, list[Any]] = {}
    namespace: Namespace | None = None
    holdout: float = 0.0
    forced: dict[str, str] = {}
    sticky: bool = False
    bucket_version: int = 0
    min_bucket_version: int = 0


class Definition(Allocation, frozen=True, kw_only=True, omit_defaults=True):
    """How units get the arms of one experiment. ``salt`` seeds the hash.

    ``slices`` are the attributes that an exposure carries as tags.
    """

    arms: tuple[Arm, ...]
    salt: str
    state: State = "running"
    slices: tuple[str, ...] = ()


class Definitions(msgspec.Struct, frozen=True, kw_only=True):
    """The experiments of a project that a program may have to do with."""

    project: str
    experiments: tuple[Definition, ...]
