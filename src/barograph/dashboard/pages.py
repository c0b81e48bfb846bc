"""The literal list of pages, each with the question that it answers, and the way to one by its name.

A page is made from ``Material`` by its file in ``page/``; ``dashboard_interface``, the command line and whatever
serves pages ask here.
"""

from __future__ import annotations

from difflib import get_close_matches

from msgspec.structs import replace

from barograph.core.query import Window
from barograph.dashboard.material import Material, PageSpec
from barograph.dashboard.page.alerts import alerts_page
from barograph.dashboard.page.cost import cost_page
from barograph.dashboard.page.experiments.page import experiment_page, experiments_page
from barograph.dashboard.page.overview import overview_page
from barograph.dashboard.page.quality import quality_page
from barograph.dashboard.page.queries import queries_page
from barograph.dashboard.page.retrieval import retrieval_page
from barograph.dashboard.page.system import system_page
from barograph.dashboard.page.users import users_page
from barograph.visualize.chart import Page, Text
from barograph_client.errors import InvalidQuery, shorten

__all__ = ["PAGES", "Material", "PageSpec", "build_page", "page_named"]

PAGES: tuple[PageSpec, ...] = (
    PageSpec("overview", "Overview", "Is it healthy now, and what changed?", "7d", overview_page),
    PageSpec("queries", "Queries", "Which queries, and why this one?", "24h", queries_page),
    PageSpec("quality", "Quality", "Are answers good, for whom, and is the change real?", "7d", quality_page),
    PageSpec("retrieval", "Retrieval", "Do we find the right text?", "7d", retrieval_page),
    PageSpec("cost", "Cost", "What do we spend, on what, and where is it heading?", "7d", cost_page),
    PageSpec("users", "Users", "Who uses it, and who is unhappy?", "7d", users_page),
    PageSpec("experiments", "Experiments", "Did it work, may I ship it?", "7d", experiments_page, experiment_page),
    PageSpec("alerts", "Alerts", "What is firing, and was it right?", "7d", alerts_page),
    PageSpec("system", "System", "Is the instrument itself in order?", "24h", system_page),
)


def page_named(name: str) -> PageSpec:
    """The page of that name. Raises InvalidQuery, which lists them and the close ones."""
    for spec in PAGES:
        if spec.name == name:
            return spec
    names = [spec.name for spec in PAGES]
    close = get_close_matches(shorten(name, 40).lower(), names, n=2, cutoff=0.5)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    raise InvalidQuery("no such page", hint=f"{hint}There are {', '.join(names)}.", value=name)


def build_page(name: str, material: Material, window: Window | None = None, *, experiment: str = "") -> Page:
    """The page over the window, or over its usual time up to now; with an experiment's key, of that one in full.

    Raises InvalidQuery, UnknownExperiment or EngineError.
    """
    spec = page_named(name)
    asked = window or material.recent(spec.span)
    if experiment and spec.one is None:
        raise InvalidQuery("this page is not about one experiment", hint="Ask for the page experiments.", value=name)
    page = spec.one(material, asked, experiment) if experiment and spec.one else spec.build(material, asked)
    note = material.retired_note(asked)
    return replace(page, parts=(*page.parts, Text(text=note, tone="warning"))) if note else page
