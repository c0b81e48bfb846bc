"""Random series and random rules have the timelines that real Prometheus gives them, tick by tick.

Skipped where there is no promtool (Debian's package ``prometheus``). Each run draws the same cases from its seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.promtool import PROMTOOL, differences
from tests.support.series_watch import run
from tests.support.soak import times

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")

CASES = times(300, 3000)
TICKS = 24
INTERVALS = (15, 30, 60)
Case = dict[str, Any]


class Draw:
    """Draws one case: series, and the rules of one or two alerts about them."""

    def __init__(self, seed: int, interval: int) -> None:
        self.random = random.Random(seed)
        self.name = f"c{seed}"
        self.interval = interval
        self.windows = [f"{interval * n}s" for n in (1, 2, 3, 5, 8)] + ["5m", "1m30s", "40s"]

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def case(self) -> Case:
        a, b = f"{self.name}_a", f"{self.name}_b"
        series = [*self.family(a), *self.family(b)]
        rules = [self.alert("x", self.question(a, b))]
        turn = self.random.random()
        if turn < 0.12:
            rules.insert(self.pick(0, 1), {"record": f"{self.name}_r", "expr": f"sum by (i) ({a}) * 2"})
            rules[rules[0].get("record") is not None]["expr"] = f"{self.name}_r {self.comparison()}"
        elif turn < 0.22:
            state = self.pick("firing", "pending")
            rules.append(self.alert("y", f'ALERTS{{alertname="{self.name}_x",alertstate="{state}"}} == 1'))
        elif turn < 0.3:
            rules.append(self.alert("y", self.question(b, a)))
        group: Case = {"name": self.name, "rules": rules}
        if self.random.random() < 0.08:
            group["limit"] = self.pick(2, 3, 4)
        return {"rules": {"groups": [group]}, "series": series, "interval_s": self.interval, "ticks": TICKS}

    def family(self, name: str) -> list[dict[str, str]]:
        labels = [f'i="{i}",j="{j}"' for i in "abc" for j in "xy"]
        chosen = self.random.sample(labels, self.pick(1, 2, 2, 3, 5)) if self.random.random() < 0.9 else [""]
        counter = self.random.random() < 0.5
        return [{"series": f"{name}{{{one}}}", "values": self.counter() if counter else self.gauge()} for one in chosen]

    def gauge(self) -> str:
        words: list[str] = []
        lowest = self.pick(0, 0, -10)
        level = self.random.randint(lowest, 10)
        while len(words) < TICKS - self.pick(0, 0, 4, 10):
            turn = self.random.random()
            if turn < 0.08:
                words += ["_"] * self.pick(1, 2, 5, 9)
            elif turn < 0.14:
                words.append(self.pick("NaN", "Inf", "-Inf"))
            elif turn < 0.2:
                words.append("stale")
            else:
                level = level if turn < 0.6 else self.random.randint(lowest, 10)
                words += [str(level + self.pick(0, 0, 0.5))] * self.pick(1, 1, 2, 4)
        return " ".join(words)

    def counter(self) -> str:
        words: list[str] = []
        level, pace = self.random.randint(0, 20), self.random.randint(0, 10)
        while len(words) < TICKS - self.pick(0, 0, 4, 10):
            turn = self.random.random()
            if turn < 0.07:
                words += ["_"] * self.pick(1, 2, 5)
            elif turn < 0.1:
                words.append("stale")
            else:
                level = self.pick(0, 2, 5) if turn < 0.2 else level + pace
                pace = self.random.randint(0, 10) if turn > 0.8 else pace
                words.append(str(level))
        return " ".join(words)

    def comparison(self, least: float = 0, most: float = 10) -> str:
        limit = self.pick(self.random.randint(int(least), int(most)), round(self.random.uniform(least, most), 2))
        return f"{self.pick('>', '>', '>=', '<', '<=', '==', '!=')} {limit}"

    def window(self) -> str:
        return str(self.pick(*self.windows))

    def alert(self, name: str, expression: str) -> Case:
        rule: Case = {"alert": f"{self.name}_{name}", "expr": expression}
        if self.random.random() < 0.7:
            rule["for"] = f"{self.interval * self.pick(1, 1, 2, 3, 5) + self.pick(0, 0, -7, 10)}s"
        if self.random.random() < 0.4:
            rule["keep_firing_for"] = f"{self.interval * self.pick(1, 2, 4) + self.pick(0, 0, -7, 10)}s"
        if self.random.random() < 0.35:
            rule["labels"] = self.pick(
                {"severity": "critical"}, {"v": "{{ $value }}"}, {"i": "is {{ $labels.i }}"}, {"j": ""},
                {"v": "{{ $value | humanize }}"}, {"v": '{{ printf "%.1f" $value }}', "none": "{{ $labels.zz }}"},
                {"v": "{{ .Value | humanizePercentage }}"}, {"alertname": "other", "i": "{{ .Labels.i | toUpper }}"},
                {"v": '{{ $value | printf "%.3g of" }} many'},
            )  # fmt: skip
        return rule

    def question(self, a: str, b: str) -> str:
        kinds: tuple[Callable[[str, str], str], ...] = (
            self.threshold, self.threshold, self.over_window, self.over_window, self.summed, self.ratio,
            self.two_windows, self.joined, self.missing, self.counted, self.compared, self.calculated,
            self.changed, self.rarer, self.rarer, self.below_zero, self.either, self.within,
            self.counters, self.counters,
        )  # fmt: skip
        return str(self.pick(*kinds)(a, b))

    def threshold(self, a: str, b: str) -> str:
        filtered = self.pick("", '{i="a"}', '{i=~"a|b"}', '{i!="a"}', '{i!~"a.*",j="x"}', '{j=""}')
        offset = self.pick("", "", f" offset {self.window()}")
        if self.random.random() < 0.2:
            return f"{self.random.randint(0, 10)} {self.pick('<', '>=', '==')} {a}{filtered}{offset}"
        return f"{a}{filtered}{offset} {self.comparison()}"

    def over_window(self, a: str, b: str) -> str:
        function = self.pick(
            "rate", "increase", "delta", "irate", "idelta", "avg_over_time", "sum_over_time", "min_over_time",
            "max_over_time", "count_over_time", "last_over_time", "present_over_time", "changes", "resets",
        )  # fmt: skip
        offset = self.pick("", "", "", f" offset {self.window()}")
        most = {"rate": 0.3, "irate": 0.3, "sum_over_time": 40, "changes": 3, "resets": 2}.get(function, 10)
        limit = round(self.random.uniform(0, most), self.pick(0, 1, 2))
        return f"{function}({a}[{self.window()}]{offset}) {self.pick('>', '>', '>=', '<', '!=')} {limit}"

    def inner(self, a: str) -> str:
        return str(self.pick(a, a, f"rate({a}[{self.window()}])", f"increase({a}[{self.window()}])", f"-{a}"))

    def summed(self, a: str, b: str) -> str:
        by = self.pick("", " by (i)", " by (j)", " by (i, j)", " without (i)", " without (j, zz)", " by (zz)")
        operator = self.pick("sum", "sum", "avg", "min", "max", "count", "group")
        inner = self.inner(a)
        text = f"{operator}{by} ({inner})" if self.random.random() < 0.5 else f"{operator}({inner}){by}"
        return f"{text} {self.comparison()}"

    def ratio(self, a: str, b: str) -> str:
        window, by = self.window(), self.pick("", " by (i)", " by (j)")
        bad = f"sum{by} (increase({a}[{window}])) / sum{by} (increase({b}[{window}]))"
        return str(
            self.pick(
                f"{bad} {self.comparison(0, 2)}", f"1 - {bad} {self.comparison(0, 1)}",
                f"{a} / {b} {self.comparison(0, 2)}",
                f"sum by (i) ({a}) / on (i) sum by (i, j) ({b}) > 1", f"{a} / ignoring (j) {b} >= 1",
                f"sum without (j) ({a}) / sum without (j) ({b}) {self.comparison(0, 2)}",
            )
        )  # fmt: skip

    def two_windows(self, a: str, b: str) -> str:
        def bad(n: int) -> str:
            window = f"{self.interval * n}s"
            return f"(1 - sum(increase({a}[{window}])) / sum(increase({b}[{window}])))"

        limit = f"{self.pick(14.4, 6, 3)} * {self.pick(0.1, 0.01, 0.05)}"
        return f"{bad(self.pick(6, 12))} > {limit} and {bad(self.pick(2, 3))} > {limit}"

    def joined(self, a: str, b: str) -> str:
        operator = self.pick("and", "or", "unless")
        matching = self.pick("", " on (i)", " on (j)", " on ()", " ignoring (j)", " ignoring (i)")
        text = f"{a} {self.comparison()} {operator}{matching} {b} {self.comparison()}"
        return text if self.random.random() < 0.7 else f"({text}) or {a} > 8"

    def missing(self, a: str, b: str) -> str:
        return str(
            self.pick(
                f"absent({a})", f'absent({a}{{i="a"}})', f'absent({a}{{i="a",j=~"x|y"}})',
                f'absent({a}{{i="a",i="b"}})', f'absent({a}{{i="q",i=~"q",j="x"}})',
                f'absent({a}{{i!="a",j="z"}})', f"absent(sum({a} > 5))", f"absent({a} > 3) and absent({b})",
                f'absent(rate({a}{{i="a"}}[{self.window()}]))',
                f'absent({a}{{i="a"}} offset 1m)', f"count({a}) < 2", f"{b} unless {a}",
            )
        )  # fmt: skip

    def counted(self, a: str, b: str) -> str:
        text = (
            f"({a} > bool {self.random.randint(0, 8)}) + ({b} {self.pick('<', '==')} bool {self.random.randint(0, 8)})"
        )
        return f"{text} >= {self.pick(1, 2)}"

    def compared(self, a: str, b: str) -> str:
        operator = self.pick(">", "<=", "==", "!=")
        matching = self.pick("", "", " on (i, j)", " ignoring (zz)", " on (i)")
        return f"{a} {operator}{self.pick('', '', ' bool')}{matching} {b}"

    def calculated(self, a: str, b: str) -> str:
        text = self.pick(
            f"{a} * 2 - 1", f"-{a} + 3", f"{a} % 3", f"{a} ^ 2 / 4", f"-2 ^ 2 + {a}",
            f"{a} ^ 2 ^ 1", f"abs({a} - 5)", f"ceil({a} / 3)",
            f"floor({a} / 3)", f"clamp_max({a}, 5)", f"clamp_min({a}, 4)", f"sqrt({a})", f"floor(4 * ln({a}))",
            f"ceil(exp({a} / 9))",
            f"{a} + {b}", f"({a} - {b}) / {b}", f"1 / {a}", f"{a} / 0", f"0 * {a} + 4", f"-(1 + 2) * -{a}",
        )  # fmt: skip
        return f"{text} {self.comparison()}"

    def changed(self, a: str, b: str) -> str:
        window, before = self.window(), self.window()
        return str(
            self.pick(
                f"{a} / {a} offset {before} {self.comparison(0, 3)}", f"{a} - {a} offset {before} > 2",
                f"avg_over_time({a}[{window}]) > 1.2 * avg_over_time({a}[{window}] offset {before})",
                f"rate({a}[{window}]) < 0.5 * rate({a}[{window}] offset {before})",
            )
        )  # fmt: skip

    def rarer(self, a: str, b: str) -> str:
        window, step = self.window(), f"{self.interval * self.pick(1, 2)}s"
        level = self.pick(0, 0.25, 0.5, 0.9, 1)
        return str(
            self.pick(
                f"deriv({a}[{window}]) > 0.02", f"stddev_over_time({a}[{window}]) >= 1.3", f"sgn({a} - 4) == 1",
                f"stdvar_over_time({a}[{window}]) < 2.6", f"quantile_over_time({level}, {a}[{window}]) > 4",
                f"predict_linear({a}[{window}], {self.pick(60, 300)}) > 9", f"absent_over_time({a}[{window}])",
                f'absent_over_time({a}{{i="a"}}[{window}])', f"max_over_time(sum by (i) ({a})[{window}:{step}]) > 7",
                f"avg_over_time(rate({a}[{window}])[{window}:{step}]) > 0.05", f"time() - {a} > 100",
                f"round({a} / 3) == 2", f"round({a}, 0.4) > 4.1", f"clamp({a}, 2, 6) > 4", f"stddev by (i) ({a}) > 1.3",
                f"stdvar({a}) without (j) <= 2.6", f"quantile by (j) ({level}, {a}) > 4", f"({a} > 7) or vector(1) > 0",
                f"sum({b}) or vector(0) < 3", f"sum_over_time(({a} > bool 5)[{window}:{step}]) >= 2",
                f"min_over_time({a}[{window}:{step}]) > 3",
                f"{a} / on (i) group_left sum by (i) ({b}) > 0.6", f"{a} > on (i) group_left () max by (i) ({b})",
                f"sum by (i) ({a}) * on (i) group_right (j) {b} > 12", f"{a} + ignoring (j) group_left {b} > 9",
                f"{a} * on (i) group_left (j) max by (i) ({b}) > 5", f"rate({a}[{window}] offset 1m) > time() / 9000",
            )
        )  # fmt: skip

    def below_zero(self, a: str, b: str) -> str:
        window = self.window()
        return str(
            self.pick(
                f"{a} % {self.pick(3, -4)} {self.comparison(-3, 3)}", f"-{a} % 5 > 1",
                f"{a} % {b} {self.comparison(-3, 3)}", f"abs({a}) > 5",
                f"floor({a} / 3) < -1", f"ceil({a} / 3) <= -1", f"round({a}, 2) == {self.pick(-4, 4)}", f"sgn({a}) < 0",
                f"{a} ^ 3 < -20", f"{a} / {b} < 0", f"min by (i) ({a}) < -3", f"quantile(0.3, {a}) < 0",
                f"deriv({a}[{window}]) < -0.01", f"delta({a}[{window}]) < 0", f"avg_over_time({a}[{window}]) < 0",
                f"increase({a}[{window}]) > 3", f"rate({a}[{window}]) > 0.1", f"clamp({a}, -2, 2) == -2",
            )
        )  # fmt: skip

    def either(self, a: str, b: str) -> str:
        matching = self.pick("on (i)", "on (j)", "on ()", "on (i, j)", "ignoring (j)", "ignoring (i)")
        left, right = f"{a} {self.comparison()}", f"{b} {self.comparison()}"
        return str(
            self.pick(
                f"{left} or {matching} {right}", f"{left} or {matching} {b}", f"({a} > bool 3) or {matching} {b} > 4",
                f"sum by (i) ({left} or {matching} {right}) > 2", f"{a} > {b} or {matching} {b} > {a}",
                f"(vector(1) > 0) and on () ({left})", f"count by (i) ({a}) == 2 or {matching} count by (i) ({b}) == 1",
            )
        )  # fmt: skip

    def within(self, a: str, b: str) -> str:
        window, step = self.window(), self.pick("7s", "25s", f"{self.interval}s", f"{self.interval * 2}s")
        inner = self.pick(a, f"({a} > 2)", f"({a} offset {self.interval}s)", f"sum by (i) ({b})", f"(-{a})")
        function = self.pick("max", "min", "avg", "sum", "count", "last")
        return f"{function}_over_time({inner}[{window}:{step}]) {self.comparison(-5, 20)}"

    def counters(self, a: str, b: str) -> str:
        function, most = self.pick(("rate", 0.2), ("increase", 9), ("irate", 0.1), ("irate", 0.3), ("resets", 2))
        long = f"{self.interval * self.pick(2, 3, 4, 10)}s"
        return f"{function}({a}[{long}]) {self.pick('>', '>=', '==', '<')} {round(self.random.uniform(0, most), 2)}"


def _cases() -> dict[str, Case]:
    drawn = (Draw(seed, INTERVALS[seed % len(INTERVALS)]) for seed in range(CASES))
    return {one.name: one.case() for one in drawn}


@pytest.mark.parametrize("interval", INTERVALS)
def test_random_rules_over_random_series_are_as_in_prometheus(interval: int, tmp_path: Path) -> None:
    cases = {name: case for name, case in _cases().items() if case["interval_s"] == interval}
    ours = {name: run(case) for name, case in cases.items()}
    assert {name: refusals for name, (_, _, refusals) in ours.items() if refusals} == {}
    sound = {name: case for name, case in cases.items() if not ours[name][1]}
    assert len(sound) > len(cases) / 2
    failed, errors, output = differences(sound, {name: ours[name][0] for name in sound}, tmp_path)
    assert (failed, errors) == (set(), []), output[:20_000]
    assert "SUCCESS" in output, output[:5000]
    for name in cases.keys() - sound.keys():
        _, errors, output = differences({name: cases[name]}, {name: {}}, tmp_path)
        assert errors == ours[name][1], f"{cases[name]['rules']}\n{output[:5000]}"


def test_the_cases_are_of_many_kinds_and_most_have_an_alert() -> None:
    timelines = [run(case)[0] for case in _cases().values()]
    assert sum(any("F" in line for line in one.values()) for one in timelines) > 0.5 * len(timelines)
    assert sum(any("P" in line for line in one.values()) for one in timelines) > 0.3 * len(timelines)


def test_quantiles_of_buckets_are_as_in_prometheus(tmp_path: Path) -> None:
    draw = random.Random(7)
    series = []
    for group in "ab":
        below = [0] * TICKS
        for bound in ("0.1", "0.5", "1", "2.5", "+Inf"):
            steps = [draw.choice((0, 0, 1, 2)) for _ in range(TICKS)]
            below = [count + sum(steps[: i + 1]) for i, count in enumerate(below)]
            series.append({"series": f'h_bucket{{le="{bound}",i="{group}"}}', "values": " ".join(map(str, below))})
    rules = [
        {"alert": f"h_{n}", "expr": f"histogram_quantile({level}, {of}) > {limit}", "labels": {"n": str(n)}}
        for n, (level, of, limit) in enumerate(
            (level, of, limit)
            for level in (0, 0.1, 0.5, 0.9, 0.99, 1)
            for of in ("h_bucket", "sum by (le) (rate(h_bucket[2m]))", "rate(h_bucket[1m])", 'h_bucket{le!="+Inf"}')
            for limit in (0.07, 0.4, 1.1, 2.4)
        )
    ]
    case: Case = {"rules": {"groups": [{"name": "h", "rules": rules}]}, "series": series, "interval_s": 30,
                  "ticks": TICKS}  # fmt: skip
    timelines, errors, refusals = run(case)
    assert (errors, refusals) == ([], [])
    assert sum("F" in line for line in timelines.values()) > 20
    failed, errors, output = differences({"h": case}, {"h": timelines}, tmp_path)
    assert (failed, errors) == (set(), []), output[:5000]


NUMBERS = (
    "0 1 0.1 100000 999999 1000000 1234567 123456789012 1e20 1e21 1.5e22 0.0001 0.00001 0.000012345 -1234567 "
    "-0.00002 1e100 0.30000000000000004 NaN Inf -Inf"
)


@pytest.mark.parametrize(
    "template",
    [
        "{{ $value }}", "{{ $value | humanize }}", "{{ humanizePercentage .Value }}", '{{ printf "%g" $value }}',
        '{{ printf "%.3g" $value }}', '{{ $value | printf "%e" }}', '{{ printf "%f s" $value }}',
        '{{ printf "%.0f" $value }}', '{{ printf "%s" $value }}', '{{ printf "%.2s" $labels.i }}',
        '{{ $labels.i | printf "%f" }}', "a {{- $value -}} b", "{{ $labels.i | toUpper }} {{ .Labels.none }}!",
    ],
)  # fmt: skip
def test_templates_are_filled_as_in_prometheus(template: str, tmp_path: Path) -> None:
    rule = {"alert": "t_x", "expr": "t_m != 77", "labels": {"v": template}}
    case: Case = {
        "rules": {"groups": [{"name": "t", "rules": [rule]}]},
        "series": [{"series": 't_m{i="abc"}', "values": NUMBERS}],
        "interval_s": 60,
        "ticks": len(NUMBERS.split()),
    }
    timelines, errors, refusals = run(case)
    assert (errors, refusals) == ([], [])
    assert differences({"t": case}, {"t": timelines}, tmp_path)[:2] == (set(), [])
