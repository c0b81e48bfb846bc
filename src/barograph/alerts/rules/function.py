"""Function rules: a Python function of the user's own says the number, or the number of each group.

It is given an ``Evaluation``, through which it asks metrics as they were at the scheduled time. What it raises, or
returns beside what a rule can use, is an error of the rule with the line; ``evaluator`` bounds how long it may take.
"""

from __future__ import annotations

import importlib
import inspect
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any, SupportsFloat, cast

from msgspec.structs import asdict, replace

from barograph.alerts.rules.threshold import GROUP_LIMIT, Measured, ThresholdRule, make_threshold, metric_of
from barograph.core.metric import Catalogue, Measure, Metric
from barograph.core.query import Filter, MetricAnswer, MetricQuery, MetricRow, Period, Window, parse_duration
from barograph.core.reader import Reader
from barograph.core.settings import RuleSettings
from barograph_client.errors import BarographError, InvalidRule, shorten

Group = str | tuple[str, ...]
Outcome = SupportsFloat | Mapping[Any, SupportsFloat | None] | MetricAnswer | Sequence[MetricRow] | None

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_WAYS = "Return a number, True or False, None for no data, {group: number}, or the answer to a question."


class Evaluation:
    """One evaluation of a function rule: when it is, and what may be asked.

    ``window`` is the rule's, and ends at the scheduled time. Every question is of the rule's project and has the
    filters of its ``where``.
    """

    def __init__(self, reader: Reader, rule: FunctionRule, end: datetime, project: str) -> None:
        self._reader = reader
        self._rule = rule
        self.project = project
        self.window = Window.last(rule.window_seconds, end)

    @property
    def at(self) -> datetime:
        """The end of the window: the scheduled time, less the delay for late events."""
        return self.window.end

    def value(self, metric: str, *, last: float | str = "", where: Sequence[Filter | str] = ()) -> float | None:
        """The metric over the window, or over ``last`` seconds (or ``7d``) before its end; None if not measured."""
        return self.query(metric, last=last, where=where).value

    def groups(
        self, metric: str, *, last: float | str = "", by: Sequence[str] = (), where: Sequence[Filter | str] = ()
    ) -> dict[Group, float | None]:
        """The metric by group, of the rule's ``by`` unless others are named; of one label by its value, of several
        by a tuple of them."""
        answer = self.query(metric, last=last, by=tuple(by) or self._rule.by, where=where)
        keys = [tuple(row.group.values()) for row in answer.rows]
        return {key[0] if len(key) == 1 else key: row.value for key, row in zip(keys, answer.rows, strict=True)}

    def query(
        self,
        metric: str,
        *,
        last: float | str = "",
        every: float | None = None,
        by: Sequence[str] = (),
        where: Sequence[Filter | str] = (),
        compare: Period | None = None,
    ) -> MetricAnswer:
        """The whole answer: in buckets of ``every`` seconds, by group, beside an earlier period.

        Raises UnknownMetric, InvalidQuery or EngineError.
        """
        seconds = parse_duration(last) if isinstance(last, str) and last else last
        return self._reader.query(
            MetricQuery(
                metric=metric,
                window=Window.last(float(seconds), self.at) if seconds else self.window,
                every=every,
                by=tuple(by),
                where=(*self._rule.where, *(Filter.parse(one) if isinstance(one, str) else one for one in where)),
                compare=compare,
                project=self.project,
                limit=GROUP_LIMIT,
            )
        )


RuleFunction = Callable[[Evaluation], Outcome]


class FunctionRule(ThresholdRule, frozen=True, kw_only=True):
    """Fires while what ``function`` returns passes a limit: true, or above zero, where the rule has none."""

    function: RuleFunction

    def questions(self, end: datetime, project: str) -> tuple[MetricQuery, ...]:
        """None that are known before the function asks them."""
        return ()

    def read(self, reader: Reader, end: datetime, project: str) -> Measured:
        """What the function returns, as rows. Raises InvalidRule with the reason and the line."""
        evaluation = Evaluation(reader, self, end, project)
        try:
            rows = _rows(self, self.function(evaluation), evaluation.window)
        except BarographError:
            raise
        except BaseException as error:  # also sys.exit: it is the rule that ends, not the watch
            raise InvalidRule(f"{type(error).__name__}: {error}{_place(error)}") from error
        more = len(rows) - GROUP_LIMIT
        if more > 0:
            rows.sort(key=lambda row: row.value is None or self.crossed(row.value) is None)
        note = f"only {GROUP_LIMIT} of its {len(rows)} groups are watched, those beyond the limit first"
        return Measured(rows=rows[:GROUP_LIMIT], complete_to=end, note=note if more > 0 else "")

    @property
    def condition(self) -> str:
        """The rule in short."""
        return self.stated(called(self.function))


def called(function: Callable[..., object]) -> str:
    """``package.module:name`` of a function."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', None) or type(function).__module__}:{name}"


def make_function(settings: RuleSettings, catalogue: Catalogue, function: RuleFunction | None) -> FunctionRule:
    """The rule of those settings on that function. Raises InvalidRule, also when there is none."""
    name = shorten(settings.name)
    if function is None:
        raise InvalidRule(
            f"rule {name}: a function rule stands in barograph.toml, or is added in Python",
            hint="What comes over the network names no code to run.",
            value=settings.function,
        )
    _check_function(name, function)
    for label in settings.by:
        if not _LABEL.fullmatch(label):
            raise InvalidRule(f"rule {name}: by: not the name of a label", hint="Use letters and _.", value=label)
    of = Metric(
        name=settings.name, title=settings.name, unit="1", aggregation="last", better="neutral", sentence="",
        of=Measure("metric", "value", name=settings.name), user_defined=True,
    )  # fmt: skip
    if settings.metric:
        of = replace(of, unit=metric_of(settings, settings.metric, catalogue).unit)
    limits = settings
    if settings.above is None and settings.below is None:
        said = (inspect.getdoc(function) or "").partition("\n")[0].removesuffix(".")
        limits = replace(settings, above=0.0, message=settings.message or said or f"{called(function)} says so")
    made = make_threshold(replace(limits, by=()), of)
    return FunctionRule(**asdict(replace(made, by=settings.by)), function=function)


def load_function(name: str, path: str) -> RuleFunction:
    """The function ``package.module:name`` of a rule. Raises InvalidRule; what its module raises is in the message."""
    rule = f"rule {shorten(name)}"
    module, attribute = _parts(name, path)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        hint = "It must be importable where Barograph runs: install it there, or set PYTHONPATH."
        raise InvalidRule(f"{rule}: function: there is no module {error.name}", hint=hint, value=path) from None
    except BaseException as error:  # whatever the user's module does while it is imported
        told = f"{rule}: function: importing {module} failed: {type(error).__name__}: {error}{_place(error)}"
        raise InvalidRule(told, hint=f'`python -c "import {module}"` shows all of it.', value=path) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            close = get_close_matches(part, dir(found), n=3)
            hint = f"Did you mean {', '.join(close)}?" if close else "Look at its spelling."
            raise InvalidRule(f"{rule}: function: {module} has no {part}", hint=hint, value=path)
        found = getattr(found, part)
    return cast("RuleFunction", found)


def name_function(name: str, path: str) -> RuleFunction:
    """Stands for the function of that path, whose module is not imported: who only says what the rules are needs none.

    Raises InvalidRule for what is no such path.
    """
    module, attribute = _parts(name, path)

    def stand_in(at: Evaluation) -> Outcome:
        raise InvalidRule(f"rule {shorten(name)}: its function is not loaded here", value=path)

    stand_in.__module__, stand_in.__qualname__, stand_in.__doc__ = module, attribute, None
    return stand_in


def load_or_name(name: str, path: str) -> RuleFunction:
    """The function, or where it cannot be loaded what stands for it. Raises InvalidRule for what is no path of one."""
    try:
        return load_function(name, path)
    except InvalidRule:
        return name_function(name, path)


def _parts(name: str, path: str) -> tuple[str, str]:
    module, colon, attribute = path.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        hint = 'Write function = "package.module:name".'
        raise InvalidRule(f"rule {shorten(name)}: function names no function", hint=hint, value=path)
    return module, attribute


def _check_function(name: str, function: RuleFunction) -> None:
    hint = "Write def rule(at): … and return a number."
    if not callable(function):
        raise InvalidRule(f"rule {name}: function is not callable", hint=hint, value=type(function).__name__)
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function) or inspect.isclass(function):
        raise InvalidRule(f"rule {name}: function must be a plain one", hint=hint, value=called(function))
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise InvalidRule(
            f"rule {name}: function must take one argument, the evaluation", hint=hint, value=called(function)
        ) from None
    except ValueError:  # a function of C that does not tell its arguments
        return


def _rows(rule: FunctionRule, outcome: Outcome, window: Window) -> list[MetricRow]:
    """What the function returned, one row a group. Raises InvalidRule for what a rule cannot use."""
    if isinstance(outcome, MetricAnswer):
        outcome = outcome.rows
    if isinstance(outcome, list | tuple):
        return _distinct([_checked(rule, row) for row in outcome])
    if isinstance(outcome, Mapping):
        return _distinct([_row(rule, window, value, _group(rule, key)) for key, value in outcome.items()])
    if rule.by:
        raise _unfit(f"its function returned one value, and the rule is by {', '.join(rule.by)}", outcome)
    return [_row(rule, window, cast("SupportsFloat | None", outcome), {})]


def _checked(rule: FunctionRule, row: object) -> MetricRow:
    """A row of an answer, also of one that the function made or changed."""
    if not isinstance(row, MetricRow) or set(row.group) != set(rule.by):
        raise _unfit(f"its function returned rows that are not by {', '.join(rule.by) or 'nothing'}", row)
    if not all(isinstance(label, str) for label in row.group.values()) or not isinstance(row.n, int):
        raise _unfit("its function returned a row whose group or n is of the wrong type", row)
    return replace(row, value=_number(row.value))


def _distinct(rows: list[MetricRow]) -> list[MetricRow]:
    seen: set[tuple[tuple[str, str], ...]] = set()
    for row in rows:
        labels = tuple(sorted(row.group.items()))
        if labels in seen:
            raise _unfit("its function returned a group twice", ", ".join(row.group.values()) or "the whole")
        seen.add(labels)
    return rows


def _group(rule: FunctionRule, key: object) -> dict[str, str]:
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) != len(rule.by) or not all(isinstance(part, str) for part in parts):
        labels = ", ".join(rule.by) or "nothing"
        raise _unfit(f"its function returned a group that does not fit `by`, {labels}", key)
    return dict(zip(rule.by, parts, strict=True))


def _row(rule: FunctionRule, window: Window, value: SupportsFloat | None, group: dict[str, str]) -> MetricRow:
    return MetricRow(start=window.start, end=window.end, value=_number(value), n=rule.minimum, group=group)


def _number(value: object) -> float | None:
    if value is not None and not isinstance(value, SupportsFloat):
        raise _unfit(f"its function returned a {type(value).__name__}", value)
    return None if value is None else float(value)


def _unfit(what: str, value: object) -> InvalidRule:
    return InvalidRule(what, hint=_WAYS, value=value)


def _place(error: BaseException) -> str:
    """Where it was raised, such as `` (my_rules.py, line 12)``."""
    every = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in every if frame.filename != __file__ and not frame.filename.startswith("<frozen")]
    return f" ({PurePath(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
