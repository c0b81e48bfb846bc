"""Workspaces: what is of one project on an open data directory, made when it is first asked for.

Journal, store, control plane and catalogue are shared; a collector, alerts, experiments and analytics are of one
project each. ``Workspaces`` makes and keeps them, and sees to it that the rules are watched in every project that
exists, those that are created meanwhile too. Made by ``assembly``, used by ``dashboard_interface``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.notifier import Notifier
from barograph.analytics.analytics_engine import AnalyticsEngine
from barograph.collect.metrics_collector import MetricsCollector
from barograph.control.projects import ProjectRepository
from barograph.core.settings import Settings
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph_client.clock import Clock
from barograph_client.errors import BarographError

LOOK_SECONDS = 15.0  # between looks for new projects


@dataclass(frozen=True)
class Workspace:
    """What is of one project. ``settings`` are the directory's, with this project in place of its own."""

    settings: Settings
    collector: MetricsCollector
    alerts: AlertManager
    notifier: Notifier
    experiments: ABTestFramework
    analytics: AnalyticsEngine

    @property
    def project(self) -> str:
        return self.settings.project


class Workspaces:
    """The workspaces of a data directory, by project. Safe to share between threads."""

    def __init__(self, make: Callable[[str], Workspace], projects: ProjectRepository, own: str, clock: Clock) -> None:
        self._make = make
        self._projects = projects
        self._clock = clock
        self._made: dict[str, Workspace] = {}
        self._making = threading.RLock()
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self.problem: BarographError | None = None  # why the last look for new projects failed
        self.own = self._get(own)

    def get(self, project: str) -> Workspace:
        """The project's workspace. Raises InvalidInput, with the way out, when there is no such project."""
        found = self._made.get(project)
        if found is None:
            self._projects.require(project)
            found = self._get(project)
        return found

    def _get(self, project: str) -> Workspace:
        with self._making:
            found = self._made.get(project)
            if found is None:
                found = self._make(project)
                if self._watcher is not None and not self._stopping.is_set():
                    found.alerts.start()
                self._made[project] = found
            return found

    def start(self) -> None:
        """Watch the rules in every project, from now on also in those that are new."""
        with self._making:
            if self._watcher is not None:
                return
            for workspace in self._made.values():
                workspace.alerts.start()
            self._watcher = threading.Thread(target=self._watch, name="barograph-projects", daemon=True)
            self._watcher.start()

    def made(self) -> list[Workspace]:
        """Those that are made by now."""
        with self._making:
            return list(self._made.values())

    def look(self) -> None:
        """Make the workspaces of all projects that exist. Raises ControlError."""
        for project in self._projects.list():
            if self._stopping.is_set():
                return
            self._get(project.name)

    def _watch(self) -> None:
        while True:
            try:
                self.look()
                self.problem = None
            except BarographError as error:  # tried again at the next look
                self.problem = error
            if self._clock.wait(self._stopping, LOOK_SECONDS):
                return

    def stop(self) -> None:
        """End the look for new projects and the watch over all of them. The first failure is raised at the end."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
        self._each(lambda workspace: workspace.alerts.stop())

    def close(self) -> None:
        """Flush every collector, let go of what experiments hold. The first failure is raised at the end."""
        self._each(lambda workspace: workspace.collector.close())
        self._each(lambda workspace: workspace.experiments.close())

    def _each(self, step: Callable[[Workspace], None]) -> None:
        failed: Exception | None = None
        for workspace in self.made():
            try:
                step(workspace)
            except Exception as error:  # the others are still ended
                failed = failed or error
        if failed is not None:
            raise failed
