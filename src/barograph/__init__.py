"""Barograph, the recording instrument for RAG systems: seven components, and the client of a server.

All are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barograph.alerts.alert_manager import AlertManager
    from barograph.analytics.analytics_engine import AnalyticsEngine
    from barograph.collect.metrics_collector import MetricsCollector
    from barograph.dashboard.dashboard_interface import DashboardInterface
    from barograph.experiments.ab_test_framework import ABTestFramework
    from barograph.store.data_store import DataStore
    from barograph.visualize.visualizer import Visualizer
    from barograph_client import errors
    from barograph_client.client import Client

__version__ = "0.1.0"

_HOMES = {
    "MetricsCollector": "barograph.collect.metrics_collector",
    "DataStore": "barograph.store.data_store",
    "AlertManager": "barograph.alerts.alert_manager",
    "AnalyticsEngine": "barograph.analytics.analytics_engine",
    "ABTestFramework": "barograph.experiments.ab_test_framework",
    "Visualizer": "barograph.visualize.visualizer",
    "DashboardInterface": "barograph.dashboard.dashboard_interface",
    "Client": "barograph_client.client",
}
__all__ = [
    "ABTestFramework",
    "AlertManager",
    "AnalyticsEngine",
    "Client",
    "DashboardInterface",
    "DataStore",
    "MetricsCollector",
    "Visualizer",
    "__version__",
    "errors",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "errors":
        return import_module("barograph_client.errors")
    raise AttributeError(f"module 'barograph' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
