"""The routes as a configuration of Alertmanager: what ``amtool config show`` and ``amtool config routes`` read.

Read by the server's Alertmanager API. Receivers have their names only: addresses and secrets are told to nobody.
https://prometheus.io/docs/alerting/latest/configuration/ has the shape.
"""

from __future__ import annotations

from collections.abc import Sequence

from barograph.alerts.matcher import parse_matchers
from barograph.alerts.prometheus.text import Yaml, duration, write_yaml
from barograph.alerts.routing.router import Router
from barograph.alerts.routing.tree import Route
from barograph.core.routing_settings import InhibitionSettings

_NOTE = "Made from barograph.toml. What has no equivalent is left out: targets of receivers, maintenance, flapping."


def routing_yaml(router: Router, inhibitions: Sequence[InhibitionSettings]) -> str:
    """The tree, the inhibitions and the names of the receivers."""
    document: dict[str, Yaml] = {"route": _route(router.tree)}
    if inhibitions:
        document["inhibit_rules"] = [
            {
                "source_matchers": [str(one) for one in parse_matchers(inhibition.source)],
                "target_matchers": [str(one) for one in parse_matchers(inhibition.target)],
                "equal": list(inhibition.equal),
            }
            for inhibition in inhibitions
        ]
    document["receivers"] = [{"name": name} for name in router.receivers]
    return write_yaml(document, [_NOTE])


def _route(route: Route) -> dict[str, Yaml]:
    document: dict[str, Yaml] = {"receiver": route.receiver, "group_by": list(route.group_by)}
    if route.matchers:
        document["matchers"] = [str(matcher) for matcher in route.matchers]
    if route.continues:
        document["continue"] = True
    for name, timer in (
        ("group_wait", route.group_wait),
        ("group_interval", route.group_interval),
        ("repeat_interval", route.repeat_interval),
    ):
        document[name] = duration(timer.total_seconds())
    if route.children:
        document["routes"] = [_route(child) for child in route.children]
    return document
