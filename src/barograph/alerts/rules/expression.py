"""Expression rules: an expression of Prometheus over the metrics of the catalogue, each element of it an alert.

A selector names a metric as the exposition does (``response_time_p95``); its samples are what the metric was over the
rule's window at each tick, its labels the rule's ``by``. ``measurements`` asks for them and remembers them, ``kernel``
evaluates. What Prometheus' own semantics decide (what is missing, how far to look back) has no setting of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import ClassVar

from msgspec import field
from msgspec.structs import asdict, replace

from barograph.alerts.prometheus.expression import (
    NAME,
    Binary,
    Node,
    Number,
    Selector,
    cost,
    element_labels,
    is_scalar,
    named_labels,
    reach,
    selectors,
)
from barograph.alerts.prometheus.kernel import Element, evaluate
from barograph.alerts.prometheus.measurements import Measurements
from barograph.alerts.prometheus.names import label_names, plain_name
from barograph.alerts.prometheus.parser import parse
from barograph.alerts.prometheus.template import Template
from barograph.alerts.rules.bounds import bounds_of
from barograph.alerts.rules.threshold import GROUP_LIMIT, Measured, ThresholdRule, make_threshold, metric_of
from barograph.alerts.schedule import INTERVAL_SECONDS
from barograph.core.metric import FAMILIES, Catalogue, Measure, Metric
from barograph.core.query import DIMENSIONS, MetricQuery, MetricRow, Window
from barograph.core.reader import Reader
from barograph.core.settings import RuleSettings
from barograph.core.unit import format_value
from barograph_client.errors import InvalidRule, UnknownMetric, shorten

TICK = int(INTERVAL_SECONDS)
DAY = 86400.0
MOST_READ = 1_000_000  # samples for one tick, some 0.4 s: the more of each series, the fewer series
MOST_OF_SERIES = 100_000  # of these
_ALERTS = ("ALERTS", "ALERTS_FOR_STATE")


class ExpressionRule(ThresholdRule, frozen=True, kw_only=True):
    """Fires for each element of an expression's vector. ``by`` are the labels that an element may have.

    ``metrics`` are the catalogue's by the names that stand in the expression, ``series_by`` the dimensions that its
    series have. Samples hold for ``lookback_seconds``. ``filled`` are labels made of an element's value or labels:
    with another text it is another alert.
    """

    text: str
    asks: Node
    metrics: dict[str, str]
    series_by: tuple[str, ...] = ()
    lookback_seconds: float = 300.0
    filled: dict[str, Template] = field(default_factory=dict)

    has_limit: ClassVar[bool] = False
    wording: ClassVar[tuple[str, str]] = ("holds", "holds no more")

    @property
    def reach_seconds(self) -> float:
        """How long before its evaluation the oldest sample may be."""
        return reach(self.asks, self.lookback_seconds)

    def question(self, end: datetime, project: str) -> MetricQuery:
        """What to ask a Reader for the newest sample of its first metric."""
        return self.questions(end, project)[0]

    def questions(self, end: datetime, project: str) -> tuple[MetricQuery, ...]:
        """What to ask for the newest samples, a metric each."""
        return tuple(self._by_name(end, project).values())

    def _by_name(self, end: datetime, project: str) -> dict[str, MetricQuery]:
        window = Window.last(self.window_seconds, end)
        return {
            name: MetricQuery(
                metric=metric, window=window, by=self.series_by, where=self.where, project=project, limit=GROUP_LIMIT
            )
            for name, metric in self.metrics.items()
        }

    def measurements(
        self, reader: Reader, project: str, *, step: int = TICK, ahead: float = 0.0, most: int = GROUP_LIMIT
    ) -> Measurements:
        """Where the samples of its metrics come from; ``ahead`` seconds may be read before they are evaluated."""
        return Measurements(
            reader,
            lambda end: self._by_name(end, project),
            label_names(self.series_by),
            reach=self.reach_seconds + ahead,
            step=step,
            minimum=self.minimum,
            most=min(most, max(1, int(MOST_READ / cost(self.asks, step)))),
        )

    def read(self, reader: Reader, end: datetime, project: str) -> Measured:
        """The elements at ``end``, from samples that are asked for anew."""
        return self.judged(self.measurements(reader, project), end)

    def judged(self, measurements: Measurements, end: datetime) -> Measured:
        """The elements at ``end``, a row each. Raises InvalidRule where Prometheus has an error, and as the Reader."""
        return self.evaluated(measurements, measurements.read(end))

    def evaluated(self, measurements: Measurements, tick: int) -> Measured:
        """The elements at that second, over what was read. Raises InvalidRule where Prometheus has an error."""
        moment = datetime.fromtimestamp(tick, UTC)
        # a sample stands until the next tick at least, however short the look back
        lookback = max(self.lookback_seconds, measurements.step - 0.001)
        names = {plain: name for name, plain in label_names(self.series_by).items()}
        rows: dict[tuple[str, ...], MetricRow] = {}
        for element in evaluate(self.asks, measurements.samples, float(tick), lookback):
            group = self._group(element, names)
            key = tuple(group.get(name, "") for name in self.by)
            if key in rows:
                raise InvalidRule("two alerts have the same labels", hint="Leave them a label that tells them apart.")
            rows[key] = MetricRow(start=moment, end=moment, value=element.value, n=1, group=group)
        return Measured(rows=list(rows.values())[:GROUP_LIMIT], complete_to=moment, note=_note(measurements, len(rows)))

    def _group(self, element: Element, names: Mapping[str, str]) -> dict[str, str]:
        """The labels of an element under the catalogue's names, and those filled in."""
        own = {names[plain]: text for plain, text in element.labels.items() if plain != NAME}
        return own | {name: made.fill(element.labels, element.value) for name, made in self.filled.items()}

    @property
    def condition(self) -> str:
        """The rule in short: its expression, and what its samples are."""
        by = f" by {', '.join(self.series_by)}" if self.series_by else ""
        return f"{' '.join(self.text.split())}, measured over {format_value(self.window_seconds, 's')}{by}"


def _note(measurements: Measurements, elements: int) -> str:
    if elements > GROUP_LIMIT:
        return f"only {GROUP_LIMIT} of its {elements} alerts are watched"
    return f"only the {measurements.groups} largest groups are watched" if measurements.full else ""


def make_expression(settings: RuleSettings, catalogue: Catalogue) -> ExpressionRule:
    """The rule of those settings. Raises InvalidRule."""
    name = shorten(settings.name)
    _check_settings(name, settings)
    try:
        asks = parse(settings.expression)
        filled = {label: Template(text) for label, text in settings.labels.items() if "{{" in text}
    except InvalidRule as error:
        raise InvalidRule(f"rule {name}: {error.message}", hint=error.hint, value=error.value) from None
    unit = metric_of(settings, settings.metric, catalogue).unit if settings.metric else "1"
    text = " ".join(settings.expression.split())
    of = Metric(
        name=settings.name, title=f"expression {text}", unit=unit, aggregation="last", better="neutral", sentence="",
        of=Measure("metric", "value", name=settings.name), user_defined=True,
    )  # fmt: skip
    made = make_threshold(replace(settings, above=0.0, missing="prometheus"), of)
    lookback = made.policy.lookback_seconds
    metrics = _metrics(name, asks, catalogue)
    _check_comparison(name, asks, metrics, catalogue)
    _check_tree(name, asks, settings)
    _check_cost(name, asks, made, settings)
    plain = label_names(settings.by)
    own = element_labels(asks, frozenset(plain.values()))
    fields = {
        **asdict(made),
        "above": None,
        "by": (*(label for label in settings.by if plain[label] in own), *filled),
        "policy": replace(made.policy, lookback_seconds=0.0),
    }
    return ExpressionRule(
        **fields,
        text=settings.expression,
        asks=asks,
        metrics=metrics,
        series_by=settings.by,
        lookback_seconds=lookback,
        filled=filled,
    )


def _check_settings(name: str, settings: RuleSettings) -> None:
    """Refuse what an expression says itself."""
    if not settings.expression.strip():
        raise InvalidRule(
            f"rule {name}: it has no expression", hint='Write expression = "error_rate > 0.05 and on () queries > 100".'
        )
    for limit in ("above", "below", "resolve"):
        if getattr(settings, limit) is not None:
            raise InvalidRule(
                f"rule {name}: {limit} says nothing to an expression", hint="Compare in the expression: … > 5."
            )
    if settings.no_data != "nodata" or settings.missing == "keep":
        setting = "missing" if settings.no_data == "nodata" else "no_data"
        raise InvalidRule(
            f"rule {name}: {setting} says nothing to an expression, what is missing means what it means in Prometheus",
            hint="Ask for it with absent(…), or set lookback.",
        )


def _check_tree(name: str, asks: Node, settings: RuleSettings) -> None:
    """Refuse what could not be evaluated, or would say nothing. Raises InvalidRule."""
    if is_scalar(asks) or not any(selectors(asks)):
        raise InvalidRule(
            f"rule {name}: the expression is the same whatever is measured", hint="Name a metric.",
            value=settings.expression,
        )  # fmt: skip
    known = label_names(settings.by)
    for label in named_labels(asks):
        if label == "le":
            hint = "Percentiles are metrics of their own: response_time_p95."
            raise InvalidRule(f"rule {name}: there are no buckets here", hint=hint, value=label)
        if label not in known.values():
            raise InvalidRule(
                f"rule {name}: the expression names a label that is not in `by`", hint=_label_hint(label, settings),
                value=label,
            )  # fmt: skip


def _check_comparison(name: str, asks: Node, metrics: Mapping[str, str], catalogue: Catalogue) -> None:
    """Refuse a metric beside a number that it never passes. Raises InvalidRule."""
    if not isinstance(asks, Binary) or not isinstance(asks.left, Selector) or not isinstance(asks.right, Number):
        return
    (named,) = (one.value for one in asks.left.matchers if one.name == NAME)
    limit, bounds = asks.right.value, bounds_of(catalogue.get(metrics[named]))
    never = {
        ">": limit >= bounds.greatest,
        ">=": limit > bounds.greatest,
        "<": limit <= bounds.least,
        "<=": limit < bounds.least,
    }
    if never.get(asks.operator, False) and not asks.as_number:
        raise bounds.refusal(name, "can never fire", limit, "above" if asks.operator.startswith(">") else "below")


def _check_cost(name: str, asks: Node, made: ThresholdRule, settings: RuleSettings) -> None:
    """Refuse what would take too long, or too much memory, at each tick. Raises InvalidRule."""
    back = reach(asks, 0.0)
    if back > DAY:
        raise InvalidRule(
            f"rule {name}: the expression looks back {format_value(back, 's')}",
            hint="A day at most, its subqueries and offsets added up; a budget or burn_rate rule looks back longer.",
        )
    if cost(asks, TICK) > MOST_OF_SERIES:
        raise InvalidRule(
            f"rule {name}: it would read {cost(asks, TICK):,.0f} samples of each series at each tick",
            hint=f"At most {MOST_OF_SERIES:,}: choose a longer step or a shorter range.",
        )
    if made.window_seconds % TICK or made.window_seconds > DAY:
        raise InvalidRule(
            f"rule {name}: an expression has no such window", hint=f"Whole multiples of {TICK} s, a day at most.",
            value=settings.window,
        )  # fmt: skip


def _label_hint(label: str, settings: RuleSettings) -> str:
    known = label_names(settings.by)
    dimension = label if label in DIMENSIONS else f"tag.{label[4:]}" if label.startswith("tag_") else ""
    if dimension:
        wanted = ", ".join(f'"{one}"' for one in (*settings.by, dimension))
        return f"Write by = [{wanted}]."
    close = get_close_matches(label, [*known.values(), *DIMENSIONS], n=3, cutoff=0.5)
    there = f"There are {', '.join(known.values())}." if known else "The rule has no `by`."
    return f"Did you mean {', '.join(close)}?" if close else there


def _metrics(name: str, asks: Node, catalogue: Catalogue) -> dict[str, str]:
    """The catalogue's metrics by what they are called in the expression. Raises InvalidRule."""
    plain = {plain_name(metric.name): metric.name for metric in catalogue}
    found: dict[str, str] = {}
    for selector in selectors(asks):
        named = [one for one in selector.matchers if one.name == NAME]
        if len(named) != 1 or named[0].operator != "=":
            raise InvalidRule(f"rule {name}: a selector names no metric, or several", hint="Write error_rate{…}.")
        asked = named[0].value
        family, _, rest = asked.partition("_")
        if asked in plain:
            found[asked] = plain[asked]
        elif family in FAMILIES and rest:
            found[asked] = f"{family}.{rest}"
        else:
            found[asked] = _exactly(name, asked, plain, catalogue)
    return found


def _exactly(name: str, asked: str, plain: Mapping[str, str], catalogue: Catalogue) -> str:
    """The metric of that very name, as ``{__name__="score.no-answer"}`` asks for it. Raises InvalidRule."""
    try:
        return catalogue.get(asked).name
    except UnknownMetric:
        close = get_close_matches(asked, plain, n=3, cutoff=0.4)
        hint = f"Did you mean {', '.join(close)}? " if close else ""
        hint = (
            "What fires holds other alerts back by an inhibition."
            if asked in _ALERTS
            else f"{hint}Dots are underscores."
        )
        raise InvalidRule(f"rule {name}: the expression names no metric", hint=hint, value=asked) from None
