"""How much of the annotations is remembered with what was told: all of it, until that is too much to write at a step.

The labels and times of an alert are needed to tell its end; what was said of it is only repeated then. Read by
``notifier``, which keeps the state; ``explanation`` tells of which alerts a part is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from barograph.alerts.alert import Alert
from barograph.alerts.routing.router import RouterState

MOST_CHARACTERS = 4 * 2**20  # of the annotations in a project's state
CUT = "… (cut)"  # what is left of a text ends so


def bounded(state: RouterState, most: int = MOST_CHARACTERS) -> RouterState:
    """The state with annotations of so many characters at most, or itself. Alerts with short ones keep theirs whole."""
    sizes = [_size(alert) for alert in _remembered(state)]
    if sum(sizes) <= most:
        return state
    room = _room(sizes, most)
    groups = {
        key: replace(
            group,
            told={identity: replace(told, alert=_cut(told.alert, room)) for identity, told in group.told.items()},
        )
        for key, group in state.groups.items()
    }
    tracks = {
        identity: track if track.alert is None else replace(track, alert=_cut(track.alert, room))
        for identity, track in state.tracks.items()
    }
    return replace(state, groups=groups, tracks=tracks)


def is_cut(alert: Alert) -> bool:
    """Whether a part of what was said of it is left out."""
    return any(text.endswith(CUT) for text in alert.annotations.values())


def count_cut(state: RouterState) -> int:
    """Of how many alerts a part is left out."""
    return len({alert.fingerprint for alert in _remembered(state) if is_cut(alert)})


def _remembered(state: RouterState) -> Iterator[Alert]:
    for group in state.groups.values():
        for told in group.told.values():
            yield told.alert
    for track in state.tracks.values():
        if track.alert is not None:
            yield track.alert


def _size(alert: Alert) -> int:
    return sum(len(name) + len(text) for name, text in alert.annotations.items())


def _room(sizes: list[int], most: int) -> int:
    """The characters that each may have, so that all have ``most`` together: what short ones leave is for the long."""
    left, count = most, len(sizes)
    for size in sorted(sizes):
        if size * count > left:
            break
        left, count = left - size, count - 1
    return left // max(1, count)


def _cut(alert: Alert, room: int) -> Alert:
    """The alert with annotations of about so many characters, each cut to its share; those without room are counted."""
    if _size(alert) <= room:
        return alert
    kept: dict[str, str] = {}
    left, count = room, len(alert.annotations)
    for name, text in sorted(alert.annotations.items(), key=lambda one: (len(one[0]) + len(one[1]), one)):
        share = left // count - len(name)
        count -= 1
        if share >= len(CUT):
            kept[name] = text if len(text) <= share else text[: share - len(CUT)] + CUT
            left -= len(name) + len(kept[name])
    if len(kept) < len(alert.annotations):
        kept["cut"] = f"{len(alert.annotations) - len(kept)} more{CUT}"
    return replace(alert, annotations=kept)
