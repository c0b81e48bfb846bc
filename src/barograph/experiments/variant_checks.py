"""The arms of a definition, checked: their keys, shares and payloads. Asked by ``design``."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from barograph.experiments.fields import DEEPEST, too_deep
from barograph_client.errors import InvalidExperiment

if TYPE_CHECKING:
    from barograph.experiments.design import Variant

LONGEST_KEY = 128
LONGEST_PAYLOAD = 65_536  # characters of an arm's payload as JSON
MOST_ARMS = 50
SUM_TOLERANCE = 1e-9


def check_key(what: str, key: str, field: str) -> None:
    """Refuse what cannot be a name: empty, too long, with characters that are not shown. Raises InvalidExperiment."""
    if not key:
        raise InvalidExperiment(f"the {what}'s key is empty", hint="Give it a short name.", field=field)
    if len(key) > LONGEST_KEY or not key.isprintable() or key != key.strip() or ":" in key:
        raise InvalidExperiment(
            f"the {what}'s key cannot be used",
            hint=f"Up to {LONGEST_KEY} printable characters, no colon, no space at either end.",
            value=key,
            field=field,
        )


def check_variants(variants: tuple[Variant, ...]) -> None:
    """Two arms at least, with names, shares that sum to one, and payloads of JSON. Raises InvalidExperiment."""
    if len(variants) < 2:
        raise InvalidExperiment("an experiment needs two arms at least", hint="Name the control and a treatment.")
    if len(variants) > MOST_ARMS:
        raise InvalidExperiment(f"an experiment has {MOST_ARMS} arms at most", value=len(variants))
    seen: set[str] = set()
    for variant in variants:
        check_key("arm", variant.key, "variants")
        if variant.key in seen:
            raise InvalidExperiment("two arms have the same key", hint="Each arm needs its own.", value=variant.key)
        seen.add(variant.key)
        if not (math.isfinite(variant.weight) and 0 <= variant.weight <= 1):
            raise InvalidExperiment(
                f"the weight of arm {variant.key} is not a share", hint="Weights lie between 0 and 1.",
                value=variant.weight,
            )  # fmt: skip
        _check_payload(variant)
    total = math.fsum(variant.weight for variant in variants)
    if abs(total - 1) > SUM_TOLERANCE:
        raise InvalidExperiment(
            f"the weights sum to {total:.6g}, not to one", hint="Write shares such as 0.5 and 0.5; coverage is apart."
        )
    if sum(variant.weight > 0 for variant in variants) < 2:
        raise InvalidExperiment("only one arm has any weight", hint="Give two arms a share at least.")


def _check_payload(variant: Variant) -> None:
    if too_deep(variant.payload):
        raise InvalidExperiment(f"the payload of arm {variant.key} is nested in more than {DEEPEST} levels",
                                hint="Write what is inside as a text, or make it flatter.")  # fmt: skip
    try:
        length = len(json.dumps(variant.payload, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidExperiment(f"the payload of arm {variant.key} is not JSON: {error}") from None
    if length > LONGEST_PAYLOAD:
        raise InvalidExperiment(f"the payload of arm {variant.key} is longer than {LONGEST_PAYLOAD:,} characters")
