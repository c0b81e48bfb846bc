"""A step of the response time stands in its chart, beside the deploy that may have made it; a full disk is foreseen."""

from __future__ import annotations

import random
import re
from datetime import timedelta
from pathlib import Path

from tests.dashboard.rag_house import NOW, House
from tests.support.rag_events import spread

from barograph.dashboard.pages import build_page
from barograph.visualize.visualizer import Visualizer

STEP = r"p\d\d from [\d.]+ s to"


def overview(directory: Path, factor: float) -> str:
    """The overview of a week whose queries take ``factor`` times as long since a deploy three days ago."""
    draw, deploy = random.Random(5), NOW - timedelta(days=3)
    events = spread("query", 2000, NOW - timedelta(days=7), 96, response_time=lambda i: draw.lognormvariate(0, 0.3))
    events += spread("query", 1500, deploy, 72, response_time=lambda i: factor * draw.lognormvariate(0, 0.3))
    events.append({"kind": "annotation", "event_id": "a1", "time": deploy, "title": "v3", "category": "deploy"})
    house = House(directory, events)
    try:
        return Visualizer(charset="ascii", width=100, timezone="UTC").draw(build_page("overview", house.material()))
    finally:
        house.close()


def test_a_step_of_the_response_time_is_marked_beside_the_deploy(tmp_path: Path) -> None:
    text = overview(tmp_path, 2.5)
    assert "1 11-21 12:00 p95 from 1.61 s to 4 s within 6 h   2 11-21 14:05 deploy: v3" in text
    assert len(re.findall(STEP, text)) == 1


def test_without_a_step_the_deploy_stands_alone(tmp_path: Path) -> None:
    text = overview(tmp_path, 1.0)
    assert "1 11-21 14:05 deploy: v3" in text
    assert not re.search(STEP, text)


def test_the_system_page_says_when_the_disk_is_full(tmp_path: Path) -> None:
    samples = spread("system", 96, NOW - timedelta(hours=24), 24, host="h", disk_percent=lambda i: 70 + 0.2 * i)
    house = House(tmp_path, samples)
    try:
        text = Visualizer(charset="ascii", width=100, timezone="UTC").draw(build_page("system", house.material()))
    finally:
        house.close()
    assert re.search(r"At this pace the disk is full in 13(\.\d)? h \(1[23](\.\d)? h to 1[34](\.\d)? h\)\.", text)
