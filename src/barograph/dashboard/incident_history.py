"""The history of incidents of an open project, with the queries behind them; for the server and the command line."""

from __future__ import annotations

from datetime import datetime

from barograph.alerts.incident_queries import with_queries
from barograph.alerts.incidents import History, history
from barograph.core.query import Window
from barograph.dashboard.dashboard_interface import DashboardInterface


def incident_history(dashboard: DashboardInterface, window: Window, now: datetime, *, limit: int, each: int) -> History:
    """The incidents of the window, the newest ``limit`` one by one, ``each`` queries of the newest few of them.

    Raises InvalidQuery or EngineError.
    """
    store, project = dashboard.store, dashboard.project
    found = history(store, window, now, project=project, limit=limit, standing=dashboard.alerts.conditions())
    catalogue = dashboard.parts.catalogue
    return with_queries(found, store, dashboard.alerts.rule, catalogue, now, project=project, each=each)
