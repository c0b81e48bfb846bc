"""Is the instrument itself in order? The machine, the account of events, and what the journal and the store say."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from barograph.analytics.arrival import arrival, arrival_text
from barograph.core.query import MetricRow, Window
from barograph.core.unit import format_value
from barograph.dashboard.material import Material
from barograph.dashboard.page.shapes import framed, guarded, line_chart, line_of, step_for, step_text
from barograph.visualize.chart import Cell, Column, Page, Part, Series, Sparkline, Table, Text

MACHINE = {"system.cpu": "CPU", "system.memory": "memory", "system.disk": "disk"}
FULL = 100.0  # per cent
ACCOUNT = ("stored", "rejected", "duplicate")


def system_page(material: Material, window: Window) -> Page:
    """Health, account, and the machine over time."""
    parts: list[Part] = [
        *_health(material),
        *_account(material),
        *guarded(lambda: _machine(material, window)),
        *guarded(lambda: _process(material, window)),
    ]
    return framed(material, "System", window, parts)


def _health(material: Material) -> list[Part]:
    parts: list[Part] = [Text(text=line, tone="warning") for line in material.health]
    if not parts:
        parts.append(Text(text="Journal and engine are in order.", tone="good"))
    complete = material.reader.watermark()
    behind = max(0.0, (material.now() - complete).total_seconds())
    parts.append(Text(text=f"Data is complete to {material.local(complete):%Y-%m-%d %H:%M:%S %Z}, "
                           f"{format_value(round(behind, 1), 's')} ago."))  # fmt: skip
    free = material.facts.free_bytes
    if free is not None:
        low = material.facts.low_disk
        text = f"The disk of the data directory has {format_value(float(free), 'B')} free"
        parts.append(Text(text=f"{text}{': too little' if low else ''}.", tone="warning" if low else "plain"))
    return parts


def _account(material: Material) -> list[Part]:
    """received = stored + rejected + duplicate, and whether it holds."""
    account = material.account
    if not account:
        return []
    received = account.get("received", 0)
    rows: list[list[Cell]] = [["received", received, None]]
    rows += [[name, account.get(name, 0), account.get(name, 0) / received if received else None] for name in ACCOUNT]
    rows += [[name, count, None] for name, count in account.items() if name not in ("received", *ACCOUNT)]
    total = sum(account.get(name, 0) for name in ACCOUNT)
    holds = "received = stored + rejected + duplicate"
    difference = received - total
    note = f"{holds}: it adds up" if difference == 0 else f"{holds} does not hold: {difference:+,} events differ"
    if account.get("rejected"):
        note += "; what was rejected is kept in rejected/, with field and reason"
    return [
        Table(title="Account of events", subtitle="since the directory was made",
              columns=[Column(title="Events"), Column(title="Count"), Column(title="Share", unit="ratio")],
              rows=rows, note=note)
    ]  # fmt: skip


def _machine(material: Material, window: Window) -> list[Part]:
    step = step_for(window)
    lines: list[Series] = []
    foreseen: list[Part] = []
    samples, incomplete = 0, False
    for metric, name in MACHINE.items():
        found = material.analytics.series(metric, window, every=step)
        if any(row.n for row in found.rows):
            samples = max(samples, sum(row.n for row in found.rows))
            incomplete = found.incomplete
            lines.append(replace(line_of(name, found.rows, "group"), n=()))
            if metric == "system.disk":
                foreseen = _full_disk(material, found.rows)
    if not lines:
        return [Text(text="No system sample in this time: set collect.sampler_seconds = 15 in barograph.toml, or call "
                          "record_system, to see CPU, memory and disk here.", tone="muted")]  # fmt: skip
    subtitle = f"CPU and memory: mean, disk: last · {step_text(step)} · n={samples:,}"
    return [line_chart("Machine", subtitle, "%", lines, window, incomplete=incomplete), *foreseen]


def _full_disk(material: Material, rows: Sequence[MetricRow]) -> list[Part]:
    """When the disk will be full at this pace, if that can be foreseen from the time that is shown."""
    until = arrival(rows, FULL, material.now())
    return [Text(text=f"At this pace the disk is full {arrival_text(until)}.", tone="warning")] if until else []


def _process(material: Material, window: Window) -> list[Part]:
    step = step_for(window)
    found = material.analytics.series("system.process_memory", window, every=step)
    if not any(row.n for row in found.rows):
        return []
    return [Sparkline(title="Process memory", values=[row.value for row in found.rows], unit="B")]
