"""The one place where the concrete classes meet: a data directory becomes a set of components that fit together.

``DashboardInterface`` holds what ``assemble`` makes; everything below takes what it needs as an argument and can be
tested with something simpler.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgspec.structs import asdict, replace

from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.default_rules import default_rules
from barograph.alerts.hearing import last_heard
from barograph.alerts.rule_set import RuleSet
from barograph.alerts.rules.function import load_function
from barograph.alerts.rules.guardrail import guardrail_rule
from barograph.alerts.rules.threshold import ThresholdRule
from barograph.alerts.shared_questions import SharedQuestions
from barograph.analytics.analytics_engine import AnalyticsEngine
from barograph.collect.assembler import Assembler
from barograph.collect.batches import retire_batches
from barograph.collect.metrics_collector import MetricsCollector
from barograph.collect.processors import Processor, from_settings
from barograph.collect.sampler import SystemSampler
from barograph.collect.sinks import JournalSink
from barograph.control.alert_states import AlertStateRepository
from barograph.control.database import CONTROL, ControlPlane
from barograph.control.experiments import ExperimentRepository
from barograph.control.projects import ProjectRepository
from barograph.control.rules import RuleRepository
from barograph.core.metric import Catalogue, Measure, Metric
from barograph.core.query import MetricQuery, Window, parse_duration
from barograph.core.settings import FILE_NAME, PREFIX, MetricSettings, Settings, load_settings
from barograph.core.toml_lines import TomlLines
from barograph.core.zone import zone_of
from barograph.dashboard.delivery import Delivery
from barograph.dashboard.housekeeping import Housekeeper
from barograph.dashboard.workspace import Workspace, Workspaces
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.experiments.guardrails import GuardrailWatch, stopped_lately
from barograph.journal.disk import journal_error
from barograph.journal.journal import Journal
from barograph.store.data_store import DataStore
from barograph.store.metric_answers import check_question
from barograph_client.clock import Clock, ManualClock
from barograph_client.errors import InvalidQuery, InvalidRule, InvalidSettings, shorten
from barograph_client.experiments.sticky import StickyFile
from barograph_client.identifiers import IdentifierSource, content_id

USER_KEY = "user-hash.key"
RULES = f"{PREFIX}RULES"
TRACES = "engine/traces.json"


@dataclass(frozen=True)
class Components:
    """The parts of one open data directory that its projects share, and the workspaces of these."""

    directory: Path
    settings: Settings
    clock: Clock
    identifiers: IdentifierSource
    catalogue: Catalogue
    journal: Journal
    control: ControlPlane
    projects: ProjectRepository
    store: DataStore
    workspaces: Workspaces
    assembler: Assembler
    delivery: Delivery
    sampler: SystemSampler | None
    housekeeper: Housekeeper
    guardrails: GuardrailWatch

    def start(self) -> None:
        """Load, evaluate and sample in the background. Raises InvalidSettings with a clock that only tests move."""
        if isinstance(self.clock, ManualClock):
            raise InvalidSettings(
                "background threads need a clock that goes by itself", hint="Pass background=False with a ManualClock."
            )
        self.store.start()
        self.assembler.start()
        self.delivery.start()
        self.workspaces.start()
        self.housekeeper.start()
        self.guardrails.start()
        if self.sampler is not None:
            self.sampler.start()

    def close(self) -> None:
        """Stop what runs, make durable what waits, let the directory go. In this order, whatever fails on the way."""
        steps = [
            *([self.sampler.stop] if self.sampler is not None else []),
            self.housekeeper.stop,
            self.guardrails.stop,
            self.workspaces.stop,
            self.delivery.stop,
            self.workspaces.close,
            self.assembler.stop,
            self.store.close,
            self.control.close,
            self.journal.close,
        ]
        failed: Exception | None = None
        for step in steps:
            try:
                step()
            except Exception as error:  # the lock must be let go in any case; the first failure is told
                failed = failed or error
        if failed is not None:
            raise failed


def assemble(
    directory: Path, environment: Mapping[str, str], clock: Clock, overrides: Mapping[str, object]
) -> Components:
    """Open a data directory; it is made if it is not there. Raises InvalidSettings, JournalError or InvalidRule."""
    settings = load_settings(directory, environment, **overrides)
    zone_of(settings.timezone)
    _check_duration(settings.status.window, "status.window")
    catalogue = Catalogue(metric_of(own) for own in settings.metrics)
    make_directory(directory)
    identifiers = IdentifierSource(clock)
    journal = Journal(directory, clock, settings.journal)
    control: ControlPlane | None = None
    try:
        control = ControlPlane(directory / CONTROL, clock)
        store = DataStore(journal, clock, settings.engine, catalogue)
        projects = ProjectRepository(control, settings.project)
        delivery = Delivery(settings, control, clock, environment)
        make = partial(
            _workspace, settings, clock, identifiers, catalogue, journal, store, SharedQuestions(store), control,
            delivery,
            from_settings(settings.collect, directory / USER_KEY),
            [] if "rules" in overrides or RULES in environment else _places(directory / FILE_NAME, settings),
        )  # fmt: skip
        workspaces = Workspaces(make, projects, settings.project, clock)
        seconds = settings.collect.sampler_seconds
        record = workspaces.own.collector.record_internal
        sampler = SystemSampler(record, clock, identifiers, seconds, directory, settings.project) if seconds else None
        watched = settings.experiments.guardrail_seconds
        guardrails = GuardrailWatch(lambda: [one.experiments for one in workspaces.made()], clock, watched)
        assembler = Assembler(journal, clock, settings.traces, directory / TRACES, store.decisions)
        _check_names(settings, catalogue, clock)
    except BaseException:
        if control is not None:
            control.close()
        journal.close()
        raise
    return Components(
        directory=directory,
        settings=settings,
        clock=clock,
        identifiers=identifiers,
        catalogue=catalogue,
        journal=journal,
        control=control,
        projects=projects,
        store=store,
        workspaces=workspaces,
        assembler=assembler,
        delivery=delivery,
        sampler=sampler,
        housekeeper=Housekeeper(
            (journal.account, journal.compress_closed, partial(retire_batches, journal, clock)), clock
        ),
        guardrails=guardrails,
    )


def _workspace(
    settings: Settings,
    clock: Clock,
    identifiers: IdentifierSource,
    catalogue: Catalogue,
    journal: Journal,
    store: DataStore,
    shared: SharedQuestions,
    control: ControlPlane,
    delivery: Delivery,
    processors: Sequence[Processor],
    places: Sequence[str],
    project: str,
) -> Workspace:
    settings = replace(settings, project=project)
    sink = JournalSink(journal)
    collector = MetricsCollector(sink, clock, identifiers, settings.collect, project=project, processors=processors)
    notifier = delivery.notifier(project)
    experiments = ABTestFramework(
        store,
        ExperimentRepository(control),
        lambda exposure: collector.record_exposure(asdict(exposure)),
        clock,
        catalogue,
        project,
        record_score=collector.record_score,
        sticky=StickyFile(journal.directory / "sticky" / f"{content_id(project.encode())}.db"),
    )
    alerts = AlertManager(
        store,
        RuleSet(
            catalogue,
            settings.rules,
            places=places,
            default=default_rules(settings),
            built_in=(guardrail_rule(lambda at: stopped_lately(experiments.known(), at)),),
            load=load_function,
            kept=RuleRepository(control),
            check=partial(check_rule, catalogue, clock),
            project=project,
        ),
        AlertStateRepository(control),
        collector.record_internal,
        clock,
        project,
        notifier=notifier,
        last_heard=last_heard(journal.arrivals),
        together=shared.ask,
    )
    delivery.dispatcher.add(notifier)
    return Workspace(
        settings=settings,
        collector=collector,
        alerts=alerts,
        notifier=notifier,
        experiments=experiments,
        analytics=AnalyticsEngine(store, catalogue, clock, settings),
    )


def _check_duration(text: str, name: str) -> None:
    try:
        parse_duration(text)
    except InvalidQuery as error:
        raise InvalidSettings(f"{name}: {error.message}", hint=error.hint, value=text) from None


def _check_names(settings: Settings, catalogue: Catalogue, clock: Clock) -> None:
    """Whether every metric of the settings can be asked for. Raises InvalidSettings."""
    window = Window.last(3600.0, clock.now())
    for own in settings.metrics:
        try:
            check_question(MetricQuery(metric=own.name, window=window), catalogue)
        except InvalidQuery as error:
            raise InvalidSettings(f"metric {own.name}: {error.message}", hint=error.hint, value=own.of) from None


def _places(path: Path, settings: Settings) -> list[str]:
    """Where each rule stands, as ``barograph.toml, line 12``; nothing for what came another way."""
    lines = TomlLines(path.read_text(encoding="utf-8-sig") if path.is_file() else "")
    found = [lines.of(("rules", number)) for number in range(len(settings.rules))]
    return [f"{path.name}, line {line}" if line else "" for line in found]


def check_rule(catalogue: Catalogue, clock: Clock, rule: ThresholdRule) -> None:
    """Whether a rule's questions can be asked. Raises InvalidRule."""
    for question in rule.questions(clock.now(), "default"):
        try:
            check_question(question, catalogue)
        except InvalidQuery as error:
            raise InvalidRule(
                f"rule {shorten(rule.name)}: {error.message}", hint=error.hint, value=error.value
            ) from None


def make_directory(directory: Path) -> None:
    """Make a data directory if it is not there. Raises InvalidSettings where none can be, else JournalError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds what users asked; others have no look
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
            raise InvalidSettings(
                f"no data directory can be made there: {error.strerror}",
                hint="Name another with --data-dir or BAROGRAPH_DATA_DIR.",
                value=str(directory),
            ) from None
        raise journal_error(error, f"making {directory}") from error


def metric_of(own: MetricSettings) -> Metric:
    """A metric of the catalogue from its settings. Raises InvalidSettings, which names it."""
    kind, _, name = own.of.partition(".")
    if kind not in ("metric", "score", "query", "feedback", "system") or not name:
        raise InvalidSettings(
            f"metric {own.name}: 'of' is metric.<name>, score.<name>, or query., feedback. or system.<number>",
            hint='For example of = "metric.queue_depth" or of = "query.output_tokens".',
            value=own.of,
        )
    measure = Measure(kind, "value", name=name) if kind in ("metric", "score") else Measure(kind, name)
    return Metric(
        name=own.name,
        title=own.title or own.name,
        unit=own.unit,
        aggregation=own.aggregation,
        better=own.better,
        sentence=own.sentence or f"The {own.aggregation} of {own.of}.",
        of=measure,
        level=own.level,
        user_defined=True,
    )
