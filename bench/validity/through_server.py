"""A/A experiments through everything that real ones go through, and how their p-values are distributed.

Experiments without a difference are defined and started by the framework of a server that listens on a socket. A client
fetches their definitions, decides each unit's arm by the hash, and sends exposures and then queries over HTTP; the
store loads them, and the framework compares the arms. Used by ``make validity`` and, with fewer, by the tests.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from scipy import stats

from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.experiments.design import Experiment, equal_variants
from barograph.server.application import application
from barograph.server.connections import Connections
from barograph.server.serve import Server, address_of, configuration, listen
from barograph.stats.sample_ratio import MISMATCH_ALPHA, binomial_exact
from barograph_client import Client
from barograph_client.clock import SystemClock
from bench.validity.draws import MOST_QUERIES
from bench.validity.methods import ALPHA
from bench.validity.report import Section, table
from bench.validity.study import SURELY, Rate, generator_for

EXPERIMENTS = 1_000
A_PROJECT = 200  # experiments of a project, which is the most that may run in one
UNITS = 800  # of each project; all of its experiments are about the same ones
METRICS = ("response_time.mean", "error_rate", "cost")  # skewed and clustered, yes or no, a sum a user
PORTION = 50_000  # events that the client holds at most before it waits for the server
DAYS = 3.0  # that each experiment runs
HABIT, NOISE = 0.3, 0.7  # of the logarithm of times: more, and a few users decide, which the gate would refuse


class Compared(NamedTuple):
    """What A/A experiments told of one metric: a p-value of each, and the always-valid one where there was one."""

    metric: str
    fixed: tuple[float, ...]
    always_valid: tuple[float, ...]


class Calendar(SystemClock):
    """The machine's clock, some days ahead."""

    days = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(days=self.days)


class Told(NamedTuple):
    """What all experiments told. ``ratios`` are the p-values of the sample ratio; ``called`` were better or worse."""

    metrics: tuple[Compared, ...]
    ratios: tuple[float, ...]
    called: int
    experiments: int
    units: int


def through_server(
    directory: Path, experiments: int = EXPERIMENTS, units: int = UNITS, *, one_each: bool = False
) -> Told:
    """Run so many experiments in as many projects as they need, ``one_each`` with one of the metrics in turns.

    Raises RuntimeError when an event did not arrive.
    """
    sizes = [min(A_PROJECT, experiments - first) for first in range(0, experiments, A_PROJECT)]
    p_values: dict[str, tuple[list[float], list[float]]] = {metric: ([], []) for metric in METRICS}
    ratios, called, calendar = [], 0, Calendar()
    with (
        DashboardInterface(
            directory,
            clock=calendar,
            environment={},
            background=False,
            default_rules=False,
            server={"port": 0},
        ) as dashboard,
        _listening(dashboard) as address,
    ):
        for number, size in enumerate(sizes):
            project = f"a-a-{number}"
            dashboard.parts.projects.create(project, actor="bench")
            here = dashboard.for_project(project)
            keys = _started(here, size, one_each)
            _used(address, project, keys, units, calendar)
            calendar.days += DAYS - 1
            here.flush()
            for key in keys:
                found = here.experiments.compare(key)
                ratios.append(_number(found.sample_ratio.p_value))
                called += found.verdict.finding in ("better", "worse")
                for one in found.metrics:
                    fixed, always = p_values[one.metric]
                    fixed.append(_number(one.estimates[0].p_value))
                    always += [each.p_value for each in one.always_valid if each.p_value is not None]
    compared = tuple(Compared(name, tuple(fixed), tuple(always)) for name, (fixed, always) in p_values.items())
    return Told(compared, tuple(ratios), called, experiments, units)


def measured(experiments: int) -> Section:
    """Run them in a directory of their own, and tell."""
    with TemporaryDirectory(prefix="barograph-validity-") as directory:
        return section(through_server(Path(directory) / "data", experiments))


def section(told: Told) -> Section:
    """The part of the page, and what does not hold of it."""
    rows, faults = [], []
    for one in told.metrics:
        distance, p_value = stats.kstest(one.fixed, "uniform")
        if p_value < SURELY:
            faults.append(f"A/A through the server: p-values of {one.metric} are not uniform (p = {p_value:.2g})")
        fixed, always = (Rate(sum(p < ALPHA for p in values), len(values)) for values in (one.fixed, one.always_valid))
        for name, values in (("fixed horizon", one.fixed), ("always valid", one.always_valid)):
            faults += [f"A/A through the server: {one.metric}, {name}, at {alpha:g}" for alpha in too_small(values)]
        said = f"{always.value:.4f} of {always.repetitions:,}" if always.repetitions else "not valid here"
        rows.append([one.metric, f"{distance:.3f}", f"{p_value:.3f}", f"{fixed.value:.4f}", said])
    shares = [Rate(sum(p < alpha for p in told.ratios), len(told.ratios)) for alpha in (MISMATCH_ALPHA, ALPHA)]
    sizes = [size_of_ratio(told.units, alpha) for alpha in (MISMATCH_ALPHA, ALPHA)]
    faults += [
        f"A/A through the server: sample ratio, {rate} beside {size:.4f}"
        for rate, size in zip(shares, sizes, strict=True)
        if not holds(rate, size)
    ]
    text = (
        "## A/A through the hash, the server and the store\n\n"
        f"{told.experiments:,} experiments without a difference, {told.units} users each, defined and started by the "
        "framework of a server. A client assigns the users by the hash and sends exposures, and a day later queries, "
        "over HTTP: 1 to 200 a user, times with a habit of each user. Kolmogorov and Smirnov's test of uniform "
        f"p-values; the share of p-values below {ALPHA:g}; and that of the always-valid ones, of those that there "
        "are. "
        f"{told.called} of the experiments were called better or worse by {told.metrics[0].metric}. The sample ratio "
        f"is a mismatch in {shares[0].wrong} (p < {MISMATCH_ALPHA:g}; the exact test has {sizes[0]:.5f}), and below "
        f"{ALPHA:g} in {shares[1].value:.4f} (the exact test has {sizes[1]:.4f}).\n\n"
    )
    heads = ["Metric", "distance", "p of it", f"p < {ALPHA:g}", f"always valid, p < {ALPHA:g}"]
    return Section(text + table(heads, rows), tuple(faults))


def too_small(p_values: Sequence[float]) -> list[float]:
    """The levels below which there are more p-values than there may be, for sure."""
    levels = (0.5, 0.2, 0.1, ALPHA, 0.01, 0.001)
    return [alpha for alpha in levels if Rate(sum(p < alpha for p in p_values), len(p_values)).exceeds(alpha)]


def size_of_ratio(units: int, alpha: float) -> float:
    """How often the exact sample ratio test of two equal arms is below alpha: its p-values are few, and so less."""
    below = [count for count in range(units + 1) if binomial_exact(count, units, 0.5) < alpha]
    return float(np.sum(stats.binom.pmf(below, units, 0.5)))


def holds(rate: Rate, expected: float) -> bool:
    """Whether the expected rate is within the bounds of Clopper and Pearson at 99.9 %."""
    bounds = stats.binomtest(rate.wrong, rate.repetitions).proportion_ci(1 - SURELY)
    return bool(bounds.low <= expected <= bounds.high)


def _started(dashboard: DashboardInterface, size: int, one_each: bool) -> list[str]:
    """The keys of so many experiments that run."""
    framework = dashboard.experiments
    keys = []
    for number in range(size):
        primary, *others = (METRICS[number % len(METRICS)],) if one_each else METRICS
        made = framework.create(
            Experiment(
                key=f"a-a-{number}", variants=equal_variants("control", "same"), primary_metric=primary,
                secondary_metrics=tuple(others), planned_days=DAYS,
            )
        )  # fmt: skip
        keys.append(framework.start(made.key).key)
    return keys


def _used(address: str, project: str, keys: Sequence[str], units: int, calendar: Calendar) -> None:
    """Users come and are exposed to all experiments, and ask a day later."""
    with Client(address, project=project, spool=False, queue=2 * PORTION, clock=calendar, environment={}) as client:
        if not client.experiments.wait(60) or set(client.experiments.keys) != set(keys):
            raise RuntimeError(f"the client knows other experiments: {client.experiments.problem}")
        for number, unit in enumerate(range(units), start=1):
            for key in keys:
                client.experiments.expose(key, user=f"user-{unit}")
            if number % max(PORTION // len(keys), 1) == 0:
                client.flush(60)
        _arrived(client, units * len(keys))
    calendar.days += 1
    # Another process of the application answers, which has exposed nobody: its queries carry no arms.
    generator = generator_for("through the server", project)
    asked = 0
    with Client(address, project=project, spool=False, queue=2 * PORTION, clock=calendar, environment={}) as client:
        for unit in range(units):
            number = int(np.exp(generator.uniform(0, np.log(MOST_QUERIES + 1))))
            habit, failing = generator.normal(0, HABIT), generator.beta(1, 9)
            times = np.exp(habit + NOISE * generator.standard_normal(number))
            failed, costs = generator.random(number) < failing, generator.exponential(0.01, number)
            for time, error, cost in zip(times.tolist(), failed.tolist(), costs.tolist(), strict=True):
                client.record_query_execution(
                    {
                        "query": "What is RAG?", "user_id": f"user-{unit}", "response_time": time, "cost": cost,
                        "status": "error" if error else "ok",
                    }
                )  # fmt: skip
            asked += number
            if client.counts.waiting > PORTION:
                client.flush(60)
        _arrived(client, asked)


def _arrived(client: Client, number: int) -> None:
    client.flush(60)
    counts = client.counts
    if counts.stored != number:
        raise RuntimeError(f"{number} events were sent, and of them {counts}: {client.problem} {client.rejections[:1]}")


@contextmanager
def _listening(dashboard: DashboardInterface) -> Iterator[str]:
    """The server of an open data directory, on a free port of loopback, in a thread; yields its address."""
    bounds = dashboard.settings.server
    connections = Connections(bounds)
    app, site = application(dashboard, connections, token="")
    server = Server(configuration(app, connections, bounds))
    with listen(bounds) as listener:
        dashboard.parts.start()
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield address_of(bounds, listener)
        finally:
            site.stopping = server.should_exit = True
            thread.join()


def _number(value: float | None) -> float:
    if value is None:
        raise RuntimeError("there is no p-value")
    return value
