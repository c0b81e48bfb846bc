"""What ``doctor`` looks at in an open data directory: disk, journal, engine, alert rules.

Asked by the command line, directly or through the server that has the directory open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from barograph.core.unit import counted

if TYPE_CHECKING:
    from barograph.alerts.delivery.sender import TargetStatus
    from barograph.dashboard.dashboard_interface import DashboardInterface


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    about: str
    ok: bool
    says: str


def findings(dashboard: DashboardInterface) -> list[Finding]:
    """All of them; the engine is compared with the journal. Raises EngineError or JournalError."""
    journal = dashboard.parts.journal
    free, problems = journal.free_bytes(), journal.problems
    report = dashboard.store.verify()
    says = f"{counted(sum(report.engine.values()), 'event')}, {report.set_aside} set aside"
    return [
        Finding(about="disk", ok=not journal.low_disk, says=f"{free / 2**30:.1f} GiB free"),
        Finding(about="journal", ok=not problems, says="; ".join(problems) or "no damaged files"),
        Finding(about="engine agrees with journal", ok=report.ok, says=says),
        Finding(about="alert rules", ok=True, says=f"{len(dashboard.alerts.rules())} loaded"),
        *_receivers(dashboard),
        _guardrails(dashboard),
    ]


def _receivers(dashboard: DashboardInterface) -> list[Finding]:
    """Whether alerts are routed, and a line for each target; one whose last attempts failed is a problem."""
    delivery = dashboard.parts.delivery
    problem = dashboard.notifier.problem or delivery.dispatcher.problem or delivery.sender.problem
    cut = dashboard.notifier.cut
    yes = "yes" if not cut else f"yes; what is said of {counted(cut, 'alert')} is remembered in part, being too much"
    return [
        Finding(about="alerts are routed", ok=problem is None, says=str(problem) if problem else yes),
        *(
            Finding(
                about=f"alerts to {target.target}",
                ok=not target.failures and not target.failed,
                says=f"{target.sent} sent, {target.waiting} waiting, {target.failed} failed" + _why(dashboard, target),
            )
            for target in dashboard.parts.delivery.sender.status()
        ),
    ]


def _guardrails(dashboard: DashboardInterface) -> Finding:
    """Whether the guardrails that stop experiments can be looked at."""
    problem = dashboard.parts.guardrails.problem(dashboard.project)
    watched = sum(one.is_guarded for one in dashboard.experiments.known())
    yes = f"{counted(watched, 'running experiment')} would be stopped by one"
    return Finding(about="guardrails are watched", ok=not problem, says=problem or yes)


def _why(dashboard: DashboardInterface, target: TargetStatus) -> str:
    """What the target said last, if it did not take something."""
    if target.failures:
        return f"; {target.last_error}"
    failed = dashboard.parts.delivery.outbox.list("failed", target.target, limit=1) if target.failed else ()
    return f"; the last for: {failed[0].last_error}" if failed else ""
