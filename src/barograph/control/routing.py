"""What routing of alerts remembers from one life to the next: its state, and the alerts that came from outside.

``alerts/notifier`` keeps both. The state is written in the transaction that puts notifications into the outbox. An
alert from outside is on disk when ``put`` returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct, structs
from sqlalchemy import Connection, Delete, delete, func, insert, select

from barograph.control.database import ControlPlane
from barograph.control.tables import JsonObject, outside_alerts, router_states
from barograph_client.errors import InvalidInput

MOST_OUTSIDE = 5_000  # alerts from outside that a project may have
MOST_CHARACTERS = 16 * 2**20  # of their labels and annotations
OVER = timedelta(hours=1)  # those that are over for so long make room first


class OutsideAlert(Struct, frozen=True, kw_only=True):
    """An alert that somebody sent; it is over at ``ends_at`` unless it is sent again."""

    project: str
    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    generator_url: str = ""


class KeptState(Struct, frozen=True):
    """The state of routing as it was written, and when."""

    document: JsonObject
    saved_at: datetime


class RoutingRepository(Struct, frozen=True):
    """Loads and saves; safe to share between threads. All methods may raise ControlError."""

    plane: ControlPlane

    def state(self, project: str) -> KeptState | None:
        """The state as it was written last."""
        chosen = select(router_states.c.state, router_states.c.updated_at).where(router_states.c.project == project)
        with self.plane.reading() as connection:
            row = connection.execute(chosen).first()
            return None if row is None else KeptState(*row)

    def write_state(self, connection: Connection, project: str, state: JsonObject) -> None:
        """Write the state within a transaction that is under way."""
        now = self.plane.clock.now()
        connection.execute(delete(router_states).where(router_states.c.project == project))
        connection.execute(insert(router_states).values(project=project, state=state, updated_at=now))

    def put(self, alerts: Sequence[OutsideAlert]) -> None:
        """Keep these in place of what was kept for the same labels: all or none.

        Raises InvalidInput when a project would have more than it may.
        """
        newest = {(alert.project, alert.fingerprint): alert for alert in alerts}
        with self.plane.writing() as connection:
            for project, fingerprint in newest:
                connection.execute(_this(project, fingerprint))
            if newest:
                connection.execute(insert(outside_alerts), [structs.asdict(alert) for alert in newest.values()])
            over = outside_alerts.c.ends_at < self.plane.clock.now() - OVER
            for project in sorted({project for project, _ in newest}):
                of_project = outside_alerts.c.project == project
                if _too_many(connection, project):
                    connection.execute(delete(outside_alerts).where(of_project, over))
                if too_many := _too_many(connection, project):
                    raise InvalidInput(
                        f"a project has at most {too_many} from outside",
                        hint="Send fewer, say less of each, or group them where they are made.",
                    )

    def write_outside(self, connection: Connection, project: str, alerts: Sequence[OutsideAlert]) -> None:
        """Write these in place of all of the project, within a transaction that is under way."""
        connection.execute(delete(outside_alerts).where(outside_alerts.c.project == project))
        if alerts:
            connection.execute(insert(outside_alerts), [structs.asdict(alert) for alert in alerts])

    def outside(self, project: str) -> list[OutsideAlert]:
        """The project's alerts from outside, those that are over included, by fingerprint."""
        chosen = (
            select(outside_alerts)
            .where(outside_alerts.c.project == project)
            .order_by(outside_alerts.c.fingerprint)
        )  # fmt: skip
        with self.plane.reading() as connection:
            return [OutsideAlert(**row) for row in connection.execute(chosen).mappings()]

    def forget_outside(self, project: str, fingerprints: Sequence[str]) -> None:
        """Delete these."""
        with self.plane.writing() as connection:
            for fingerprint in fingerprints:
                connection.execute(_this(project, fingerprint))


def _this(project: str, fingerprint: str) -> Delete:
    return delete(outside_alerts).where(
        outside_alerts.c.project == project, outside_alerts.c.fingerprint == fingerprint
    )


def _too_many(connection: Connection, project: str) -> str:
    """Which bound the project's alerts from outside pass, if one."""
    size = func.length(outside_alerts.c.labels) + func.length(outside_alerts.c.annotations)
    chosen = select(func.count(), func.sum(size)).where(outside_alerts.c.project == project)
    number, characters = connection.execute(chosen).one()
    if number > MOST_OUTSIDE:
        return f"{MOST_OUTSIDE:,} alerts"
    return f"{MOST_CHARACTERS:,} characters of alerts" if (characters or 0) > MOST_CHARACTERS else ""
