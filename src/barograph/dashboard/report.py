"""A report on the last hours: what was found, the key numbers, the charts, the experiment, the worst queries.

Asks what the pages ask; handed to ``dashboard_interface``, which draws it.
"""

from __future__ import annotations

from barograph.core.errors import InvalidQuery
from barograph.dashboard.material import Material
from barograph.dashboard.page.overview import overview_page
from barograph.visualize.chart import Page

MOST_HOURS = 366 * 24.0


def build_report(material: Material, hours: float) -> Page:
    """The report. Raises InvalidQuery for a time that cannot be reported on, or EngineError."""
    if not 0 < hours <= MOST_HOURS:
        raise InvalidQuery("a report is on some hours, a year at most", hint="168 is a week.", value=hours)
    return overview_page(material, material.recent(hours * 3600.0))
