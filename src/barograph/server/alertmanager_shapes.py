"""The shapes of Alertmanager's API, version 2: what is sent to it, what it answers, and ours in its terms.

Read by ``alertmanager_api`` and by the OpenAPI document. Alertmanager 0.25's own description (``api/v2/openapi.yaml``)
has the shapes; its clients, ``amtool`` and Prometheus among them, are held against these.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated as A
from typing import Literal

from msgspec import Meta as M
from msgspec import Struct, field

from barograph.alerts.alert import Alert
from barograph.alerts.matcher import Matcher, Operator, all_match, parse_matchers
from barograph.alerts.pattern import Pattern
from barograph.alerts.prometheus.names import is_label_name
from barograph.alerts.routing.router import Router
from barograph.alerts.standing import Standing
from barograph.control.silences import Silence
from barograph.server.parameters import Matchers
from barograph_client.errors import InvalidInput

RESOLVE_SECONDS = 300.0  # an alert without an end is over when it was not sent again for so long
LONGEST = timedelta(days=1)  # an alert fires without being sent again at most so long
MOST_TEXT = 16_384  # characters of an alert's labels and annotations
_LABELS, _NAME, _TEXT = 64, 128, 4_096  # labels of an alert, characters of a name and of a value
_OPERATORS: dict[tuple[bool, bool], Operator] = {  # by whether it is regular, whether it is equal
    (False, True): "=", (False, False): "!=", (True, True): "=~", (True, False): "!~",
}  # fmt: skip

Zoned = A[datetime, M(tz=True)]
Name = A[str, M(min_length=1, max_length=_NAME)]
Texts = A[dict[Name, A[str, M(max_length=_TEXT)]], M(max_length=_LABELS)]


class AlertmanagerAlerts(Struct, kw_only=True):
    """Which alerts are asked for: all that fire unless something is said."""

    filter: Matchers = []
    receiver: A[str, M(max_length=1000, description="A regular expression for all of a receiver's name")] = ""
    active: A[bool, M(description="Those that nothing holds back")] = True
    silenced: A[bool, M(description="Those that a silence or maintenance holds back")] = True
    inhibited: A[bool, M(description="Those that another alert holds back")] = True

    def chosen(self, alerts: Sequence[Standing], router: Router) -> list[Standing]:
        """Those of the alerts. Raises InvalidInput for a matcher or an expression that cannot be read."""
        matchers, receiver = parse_matchers(self.filter), Pattern(self.receiver) if self.receiver else None
        return [
            one
            for one in alerts
            if one.state == "firing"
            and all_match(matchers, one.labels)
            and self._of_state(one)
            and (receiver is None or any(receiver.matches(route.receiver) for route in router.tree.find(one.labels)))
        ]

    def _of_state(self, alert: Standing) -> bool:
        if not alert.held_by:
            return self.active
        return self.inhibited if alert.held_by == "inhibition" else self.silenced


class AlertmanagerSilences(Struct, kw_only=True):
    """Which silences are asked for: those that are about such labels."""

    filter: Matchers = []


class SentAlert(Struct, kw_only=True, rename="camel"):
    """An alert as Prometheus sends it."""

    labels: A[Texts, M(min_length=1, description="Its identity; `alertname` by custom")]
    annotations: Texts = field(default_factory=dict)
    starts_at: A[Zoned | None, M(description="When it began; now if absent")] = None
    ends_at: A[Zoned | None, M(description="When it is over unless it is sent again; in five minutes if absent")] = None
    generator_url: A[str, M(max_length=2048)] = field(default="", name="generatorURL")

    def alert(self, now: datetime) -> Alert:
        """As we keep it. Raises InvalidInput."""
        labels = {name: value for name, value in self.labels.items() if value}
        if not labels:
            raise InvalidInput("an alert needs a label with a value", hint='Send labels such as {"alertname": "…"}.')
        wrong = next((name for name in (*labels, *self.annotations) if not is_label_name(name)), None)
        if wrong is not None:
            raise InvalidInput("not the name of a label", hint="Use letters, digits and _.", value=wrong)
        ends_at = self.ends_at if self.ends_at is not None and self.ends_at.year > 1 else None
        starts_at = self.starts_at if self.starts_at is not None and self.starts_at.year > 1 else None
        if sum(len(text) for texts in (labels, self.annotations) for one in texts.items() for text in one) > MOST_TEXT:
            raise InvalidInput(f"an alert has at most {MOST_TEXT:,} characters", hint="Send shorter annotations.")
        try:
            end = min((ends_at or now + timedelta(seconds=RESOLVE_SECONDS)).astimezone(UTC), now + LONGEST)
            start = min((starts_at or now).astimezone(UTC), end)
        except OverflowError:
            raise InvalidInput("a time beyond the years 1 to 9999", hint="Send times in UTC.") from None
        return Alert(
            labels=labels,
            annotations=self.annotations,
            starts_at=start,
            ends_at=end,
            updated_at=now,
            generator_url=self.generator_url,
            from_outside=True,
        )


class AlertmanagerMatcher(Struct, kw_only=True, rename="camel"):
    """One matcher of a silence."""

    name: Name
    value: A[str, M(max_length=_TEXT)]
    is_regex: bool
    is_equal: bool = True

    def text(self) -> str:
        """As we write it. Raises InvalidInput."""
        return str(Matcher(self.name, _OPERATORS[self.is_regex, self.is_equal], self.value))


class SentSilence(Struct, kw_only=True, rename="camel"):
    """A silence that is wanted; with an ``id``, in the place of that one."""

    id: A[str, M(max_length=64, description="The silence that this one is to replace")] = ""
    matchers: A[list[AlertmanagerMatcher], M(min_length=1, max_length=50)]
    starts_at: A[Zoned, M(description="From when on; now if that has passed")]
    ends_at: Zoned
    created_by: A[str, M(max_length=128, description="The key's name if empty")]
    comment: A[str, M(max_length=1000)]


class AlertmanagerReceiver(Struct, kw_only=True):
    """A receiver."""

    name: str


class AlertmanagerStatus(Struct, kw_only=True, rename="camel"):
    """Whether it is told, and what holds it back if it is not."""

    state: Literal["active", "suppressed"]
    silenced_by: list[str]
    inhibited_by: list[str]


class AlertmanagerAlert(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """An alert that fires."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    fingerprint: str
    generator_url: str = field(default="", name="generatorURL")
    receivers: list[AlertmanagerReceiver]
    status: AlertmanagerStatus


class AlertmanagerGroup(Struct, kw_only=True):
    """Alerts that are told together."""

    labels: dict[str, str]
    receiver: AlertmanagerReceiver
    alerts: list[AlertmanagerAlert]


class SilenceStatus(Struct, kw_only=True):
    """Where a silence stands."""

    state: Literal["active", "pending", "expired"]


class AlertmanagerSilence(Struct, kw_only=True, rename="camel"):
    """A silence."""

    id: str
    status: SilenceStatus
    updated_at: datetime
    comment: str
    created_by: str
    starts_at: datetime
    ends_at: datetime
    matchers: list[AlertmanagerMatcher]


class MadeSilence(Struct, kw_only=True):
    """The id of a silence that was made."""

    silence_id: str = field(name="silenceID")


class Cluster(Struct, kw_only=True):
    """There is no cluster."""

    status: Literal["disabled"] = "disabled"
    peers: list[str] = field(default_factory=list)


class Configuration(Struct, kw_only=True):
    """The routes as Alertmanager would have them, in YAML."""

    original: str


class VersionInfo(Struct, kw_only=True, rename="camel"):
    """``version`` is the Alertmanager whose API this is, which its clients compare with their own."""

    version: str
    revision: str
    branch: str
    build_user: str = ""
    build_date: str = ""
    go_version: str = ""


class AlertmanagerNow(Struct, kw_only=True, rename="camel"):
    """What answers here, since when, and how alerts are routed."""

    cluster: Cluster
    config: Configuration
    uptime: A[datetime, M(description="When the server was started")]
    version_info: VersionInfo


def alert_shape(one: Standing, router: Router) -> AlertmanagerAlert:
    """An alert that fires."""
    held = [one.held_id] if one.held_by else []
    inhibited = one.held_by == "inhibition"
    return AlertmanagerAlert(
        labels=one.labels,
        annotations=one.annotations,
        starts_at=one.starts_at or one.active_at,
        ends_at=one.ends_at or one.updated_at + timedelta(seconds=RESOLVE_SECONDS),
        updated_at=one.updated_at,
        fingerprint=one.fingerprint,
        generator_url=one.generator_url,
        receivers=[AlertmanagerReceiver(name=route.receiver) for route in router.tree.find(one.labels)],
        status=AlertmanagerStatus(
            state="suppressed" if held else "active",
            silenced_by=[] if inhibited else held,
            inhibited_by=held if inhibited else [],
        ),
    )


def group_shapes(alerts: Sequence[Standing], router: Router, receiver: str) -> list[AlertmanagerGroup]:
    """The groups that the alerts are told in, by their labels; only those of such a receiver, if one is named."""
    wanted = Pattern(receiver) if receiver else None
    groups: dict[str, AlertmanagerGroup] = {}
    for one in alerts:
        for route in router.tree.find(one.labels):
            if wanted is None or wanted.matches(route.receiver):
                labels = route.group_labels(one.labels)
                empty = AlertmanagerGroup(labels=labels, receiver=AlertmanagerReceiver(name=route.receiver), alerts=[])
                groups.setdefault(route.group_key(labels), empty).alerts.append(alert_shape(one, router))
    return sorted(groups.values(), key=lambda group: (sorted(group.labels.items()), group.receiver.name))


def silence_shape(one: Silence, now: datetime) -> AlertmanagerSilence:
    """A silence."""
    return AlertmanagerSilence(
        id=one.id,
        status=SilenceStatus(state=one.state(now)),
        updated_at=one.ended_at or one.created_at,
        comment=one.comment,
        created_by=one.author,
        starts_at=one.starts_at,
        ends_at=one.until,
        matchers=[
            AlertmanagerMatcher(
                name=matcher.name,
                value=matcher.value,
                is_regex=matcher.operator in ("=~", "!~"),
                is_equal=matcher.operator in ("=", "=~"),
            )
            for matcher in parse_matchers(one.matchers)
        ],
    )


def in_order(silences: Sequence[AlertmanagerSilence]) -> list[AlertmanagerSilence]:
    """As Alertmanager lists them: in force by their end, to come by their beginning, over with the newest first."""

    def place(one: AlertmanagerSilence) -> tuple[int, float]:
        match one.status.state:
            case "active":
                return 0, one.ends_at.timestamp()
            case "pending":
                return 1, one.starts_at.timestamp()
            case _:
                return 2, -one.ends_at.timestamp()

    return sorted(silences, key=place)
