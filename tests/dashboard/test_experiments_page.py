"""The page of experiments: what each state says, that no text or number breaks it, and that an overview stays cheap.

After a wanted change: ``python -m tests.dashboard.test_experiments_page`` writes the golden files; look at them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace
from tests.dashboard.comparisons import comparison, details, estimate, interleaved, metrics, nobody_yet, three_arms
from tests.dashboard.drawn import HOSTILE, check_harmless, plain, text_of
from tests.dashboard.rag_house import VECTORS, House, busy_week
from tests.support.soak import times
from wcwidth import wcswidth

from barograph.dashboard.page.experiments.courses import day_course
from barograph.dashboard.page.experiments.intervals import interval_plot
from barograph.dashboard.page.experiments.page import MOST_SHOWN, in_full
from barograph.dashboard.page.experiments.summary import experiment_parts, head
from barograph.dashboard.page.experiments.words import change, difference, progress_note, worsening
from barograph.dashboard.pages import build_page
from barograph.dashboard.report import build_report
from barograph.experiments.comparison import Comparison, Details, Step, Verdict
from barograph.experiments.design import Experiment, Reweighting, equal_variants
from barograph.stats.estimate import Effect
from barograph.stats.sample_ratio import sample_ratio
from barograph.visualize.charset import CHARSETS, CharsetName
from barograph.visualize.chart import IntervalPlot, LineChart, Page, Text
from barograph_client.errors import EngineUnavailable, InvalidQuery, UnknownExperiment

LOOKS: tuple[tuple[CharsetName, int], ...] = (("ascii", 60), ("unicode", 80), ("braille", 120))
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def started(house: House, *keys: str) -> None:
    for key in keys:
        house.experiments.create(replace(VECTORS, key=key, title=""))
        house.experiments.start(key)


def full(found: Comparison, more: Details | None = None, experiment: Experiment = VECTORS) -> Page:
    return Page(title=found.title, parts=in_full(experiment, found, more))


# what it says


@pytest.mark.parametrize(("charset", "width"), LOOKS)
def test_one_experiment_in_full_looks_as_it_did(charset: CharsetName, width: int) -> None:
    drawn = text_of(full(comparison(), details()), charset, width) + "\n"
    assert drawn == (GOLDEN / f"experiment-{charset}-{width}.txt").read_text(encoding="utf-8")


def test_the_limit_of_a_guardrail_is_marked_and_its_bounds_are_numbers() -> None:
    text = plain(text_of(full(comparison())))
    assert "┆ limit: Average response time +10 %" in text
    assert "Average response time open +10 % open −2 % to +16 % yes" in text
    assert "Cost per query held +$0.002 held up to +$0.0005 no" in text
    assert "sums of a user are cut off at: Cost per query $0.50" in text


def test_nothing_is_called_better_before_the_planned_end_and_at_any_time_where_that_is_how_it_is_decided() -> None:
    assert set(judged(comparison())) == {"not settled"}
    late = comparison("better", "Better: new raises it.", days_running=14.0)
    assert judged(late) == ["better", "worse", "not settled", "better"]


def test_no_metric_is_called_better_while_the_goal_cannot_be_tested_yet() -> None:
    late = comparison("better", "Better: new raises it.", days_running=14.0)
    assert judged(late) == ["better", "worse", "not settled", "better"]
    waiting = tuple(replace(verdict, finding="not settled", p_value=None) for verdict in late.arm_verdicts)
    assert set(judged(replace(late, verdict=waiting[0], arm_verdicts=waiting))) == {"not settled"}


def test_a_plan_of_units_ends_with_the_day_of_the_last_one_also_on_the_page() -> None:
    last = comparison("better", "Better: new raises it.", planned_days=None, planned_units=1780)
    assert last.complete_to is not None
    today, before = (f"{last.complete_to - timedelta(days=ago):%Y-%m-%d}" for ago in (0, 1))
    here = replace(last, units={"old": 900, "new": 880}, exposed_by_day=((before, 900), (today, 880)))
    assert judged(here)[1:] == ["not settled"] * 3
    assert judged(replace(here, complete_to=last.complete_to + timedelta(days=1))) == judged(
        comparison("better", "Better: new raises it.", days_running=14.0)
    )
    assert judged(replace(here, state="stopped"))[1] == "worse"


def test_an_experiment_with_planned_looks_is_told_as_of_the_last_and_nothing_is_called_better_before_the_first() -> (
    None
):
    some = [replace(one, repeated=one.estimates) for one in comparison().metrics]
    planned = replace(comparison(), decided_by="group sequential", planned_looks=4)
    better = comparison("better", "Better at look 2 of 4: new raises it.")
    second = replace(planned, verdict=better.verdict, arm_verdicts=better.arm_verdicts, metrics=tuple(some), look=2)
    assert judged(second) == ["better", "worse", "not settled", "better"]
    text = plain(text_of(full(second)))
    assert "relative change · repeated 95 % interval" in text
    assert "decided at planned looks (as of look 2 of 4)." in text
    assert set(judged(planned)) == {"not settled"}
    assert "(none of 4 so far)." in plain(text_of(full(planned)))
    assert "relative change · 95 % interval" in plain(text_of(full(planned)))
    assert progress_note(replace(planned, look=1)) == "day 9, next look in 5 days"


def judged(found: Comparison) -> list[str]:
    """What each row of the plot says."""
    return [row.verdict for plot in interval_plot(found) if isinstance(plot, IntervalPlot) for row in plot.rows]


def test_an_experiment_decided_at_any_time_is_drawn_by_its_sequences_and_says_where_they_refuse() -> None:
    text = plain(text_of(full(comparison("better", "Better: new raises it.", decided_by="always valid"))))
    assert "relative change · always-valid 95 % interval" in text
    assert "User satisfaction" in text
    assert "+3 % [+0.25, +5.75] ▲ better" in text
    assert "Error rate: the values are too skewed for so few units" in text
    assert "+20 % · not settled" in text
    assert "decided at any time, by always-valid intervals" in text


def test_days_without_an_interval_are_gaps_with_their_reason() -> None:
    chart, *said = day_course(comparison())
    assert isinstance(chart, LineChart)
    assert [y is None for _, y in chart.series[0].points] == [True] * 2 + [False] * 7
    assert [text.text for text in said if isinstance(text, Text)] == [
        "Effect over time: no interval for 2 of 9 days (a sequence needs 100 units in each arm).",
        "The interval excludes no change since 2026-11-20.",
    ]


def test_a_course_without_any_interval_is_a_sentence_and_no_chart() -> None:
    found = comparison()
    assert found.course is not None
    steps = [replace(one, estimate=replace(one.estimate, relative=None, absolute=None)) for one in found.course.steps]
    parts = day_course(replace(found, course=replace(found.course, steps=tuple(steps))))
    assert [type(part).__name__ for part in parts] == ["Text", "Text"]


def test_the_first_wide_intervals_do_not_squeeze_the_later_ones() -> None:
    found = comparison()
    assert found.course is not None
    wild = Step(label="2026-11-15", arm="new", estimate=estimate(4.0, 1.0, 400.0))
    text = text_of(Page(title="", parts=day_course(
        replace(found, course=replace(found.course, steps=(wild, *found.course.steps)))
    )))  # fmt: skip
    assert "▲ ▼ an interval that goes on beyond the axis" in text
    assert "100 %" not in text


def test_of_many_arms_a_few_stand_in_the_sentence_of_the_sample_ratio() -> None:
    units = {f"arm {number}{'x' * 90}": 100 for number in range(12)}
    balanced = sample_ratio(list(units.values()), [1 / 12] * 12)
    text = plain(text_of(Page(title="", parts=head(comparison(units=units, sample_ratio=balanced)))))
    assert re.search(r"ok \(arm 0x+… 100, .*arm 7x+… 100, 4 more users exposed", text)


def test_after_a_change_of_weights_units_stand_beside_what_was_promised_in_all_periods() -> None:
    units = {"a": 93, "b": 102, "c": 105}
    balanced = replace(sample_ratio([93, 102, 105], [1 / 3] * 3), expected=(96.4, 95.6, 108.0), p_value=0.5)
    found = replace(three_arms(), units=units, sample_ratio=balanced, split="47.8/47.2/5")
    told = " ".join(text_of(full(found)).split())
    assert "(a 93, b 102, c 105 users exposed, 32.1/31.9/36 promised, p = 0.5)" in told
    before = {variant.key: 0.5 for variant in VECTORS.variants}
    changed = replace(VECTORS, reweighted=(Reweighting(at=found.complete_to, before=before),))
    assert "Share now" in text_of(full(comparison(), experiment=changed))
    assert "Share now" not in text_of(full(comparison()))


def test_the_bounds_of_a_share_are_points_that_are_named_once() -> None:
    made = next(one for one in metrics() if one.guardrails)
    check = replace(made.guardrails[0], relative=False, worsening_low=0.0601, worsening_high=0.127)
    assert worsening(replace(made, unit="ratio"), check) == "+6.01 to +12.7 points"


def test_an_experiment_past_its_end_says_so() -> None:
    assert "Running: 9 days (8 planned), 1,320 users" in text_of(full(comparison(days_running=9.0, planned_days=8.0)))
    assert "Running: 1 day, 1,320 users" in text_of(full(comparison(days_running=1.0, planned_days=None)))


def test_exposures_are_told_for_every_day_also_one_on_which_nobody_came() -> None:
    assert re.search(r"Mon 11-23 │ +0\n", text_of(full(comparison())))
    assert re.search(
        r"Users exposed by day \S+ +last 195", text_of(Page(title="", parts=experiment_parts(comparison())))
    )


def test_an_experiment_that_a_guardrail_stopped_says_why() -> None:
    why = "It was stopped: guardrail Average response time: +12 % or more."
    verdict = Verdict(finding="worse", sentence=f"Worse: new raises average response time. {why}", arm="new")
    text = plain(text_of(full(comparison(
        state="stopped", stop_reason="guardrail Average response time: +12 % or more", verdict=verdict,
        arm_verdicts=(verdict,),
    ))))  # fmt: skip
    assert "Stopped: 8.6 of 14 days, 1,320 users" in text
    assert text.count(why) == 1


def test_an_experiment_that_is_not_valid_says_so_on_every_row() -> None:
    found = comparison("not valid", "Not valid: the arms did not get their shares of users.", days_running=20.0)
    text = plain(text_of(full(found)))
    assert text.count("· not valid") == 4
    assert "▲ better" not in text
    assert "▼ worse" not in text


def test_an_experiment_that_nobody_has_met_has_a_next_step_and_no_tables_of_nothing() -> None:
    text = plain(text_of(full(nobody_yet())))
    assert "Sample ratio: no user has been exposed yet. Call expose where the arm takes effect." in text
    assert "Average response time: a sequence needs 100 units in each arm" in text
    assert "The numbers" not in text
    assert "against old" not in text


def test_an_arm_that_is_empty_leaves_its_numbers_out() -> None:
    found = replace(nobody_yet(), units={"old": 40, "new": 0})
    assert re.search(r"User satisfaction +– +– +– +– +0 / 0", text_of(full(found)))


def test_several_arms_have_their_names_and_a_verdict_each() -> None:
    text = plain(text_of(full(three_arms()), width=120))
    assert "Better: new raises user satisfaction. Worse: newer lowers user satisfaction." in text
    assert "newer: User satisfaction" in text
    assert "Average response time newer breached +10 % breached" in text


def test_rankers_are_compared_by_preference_on_the_same_page() -> None:
    text = text_of(full(interleaved()))
    assert "Sample ratio: every unit saw all rankers (1,320 users)." in text
    assert re.search(r"Preference over bm25  difference · 95 % interval\nPreference over bm25 .*●.*▲ better", text)
    assert "+0.06 [+0.02, +0.1]" in text
    assert "Effect over time" in text
    assert "Due" not in text


def test_rankers_share_each_list_and_divide_nobody() -> None:
    rankers = Experiment(key="ranking", kind="interleaving", variants=equal_variants("bm25", "dense"))
    text = plain(text_of(full(interleaved(), experiment=rankers)))
    assert "Rankers Ranker ────── bm25 dense" in text
    assert "Nobody is given one ranker alone: each user's lists hold passages of both rankers." in text
    assert "50 %" not in text


def test_methods_without_a_number_are_no_rows_and_their_reason_is_told_once() -> None:
    refusing = replace(estimate(4.0, 0.1, 0.1, refused="not valid here: too few"), absolute=None, relative=None)
    some = tuple(replace(one, always_valid=(refusing,), adjusted=()) for one in metrics())
    text = plain(text_of(full(comparison(metrics=some))))
    assert text.count("too few") == 1
    assert "By other methods: none (too few)." in text
    mixed = (replace(some[0], always_valid=(estimate(4.0, 0.3, 0.1, 0.01),)), *some[1:])
    table = text_of(full(comparison(metrics=mixed))).partition("By other methods")[2].partition("A Bayesian")[0]
    assert "\u2013" not in table
    assert "too few" in table


def test_a_loss_of_nothing_is_zero_and_no_chance_is_certain() -> None:
    (belief,) = metrics()[0].beliefs

    def told(chance: float) -> str:
        changed = replace(belief, chance_to_win=chance, expected_loss=6e-17)
        return plain(text_of(full(comparison(metrics=(replace(metrics()[0], beliefs=(changed,)),)))))

    for chance, said in ((0.99999, "> 99.9 % 0 "), (1.0, "> 99.9 % 0 "), (1e-9, "< 0.1 % 0 "), (0.97, "97 % 0 ")):
        assert f"User satisfaction {said}" in told(chance)


def test_days_that_nobody_has_reached_are_not_missed() -> None:
    more = details()
    age = more.courses[0]
    empty = replace(age.steps[0].estimate, absolute=None, relative=None, arm_n=0, baseline_n=0,
                    warnings=("nothing was measured",))  # fmt: skip
    later = tuple(Step(label=str(day), arm="new", estimate=empty) for day in range(8, 14))
    text = text_of(full(comparison(), replace(more, courses=(replace(age, steps=(*age.steps, *later)),))))
    assert text == text_of(full(comparison(), replace(more, courses=(age,))))


def test_keys_of_twelve_cells_are_whole_in_eighty_columns_beside_wide_differences() -> None:
    keys = {"old": "control-arm1", "new": "cross-encode", "newer": "query-rewrit"}
    written = msgspec.json.encode(three_arms()).decode()
    for key, longer in keys.items():
        written = written.replace(f'"{key}"', f'"{longer}"')
    text = text_of(full(msgspec.json.decode(written, type=Comparison)))
    assert max(map(wcswidth, text.splitlines())) <= 80
    table = text.partition("The numbers")[2].partition("Effect over")[0]
    for whole in ("cross-encode ", "query-rewrit ", "−$0.001 [−0.0018, −0.0002]", "satisfaction", "control "):
        assert whole in table


def test_what_ranks_tell_is_a_chance_and_no_change() -> None:
    text = plain(text_of(full(comparison(), details()), width=160))
    assert "Brunner-Munzel: chance to be above a unit of the control 56 % [52, 60] 0.003" in text


def test_slices_are_judged_by_their_corrected_p_values() -> None:
    text = plain(text_of(full(comparison(), details())))
    assert "User satisfaction by country" in text
    assert "DE +0.2 [+0.1, +0.3] 0.0003 400 / 410" in text
    assert "(not said)" in text
    assert "One of 3 values differs from no change" in text


@pytest.mark.parametrize(
    ("effect", "unit", "said"),
    [
        (Effect(value=0.13, low=-0.01, high=0.27), "s", "+130 ms [−10, +270]"),
        (Effect(value=1.2, low=-0.01, high=2.0), "s", "+1.2 s [−10 ms, +2 s]"),
        (Effect(value=-0.001, low=-0.002, high=0.0), "USD", "−$0.001 [−0.002, 0.00]"),
        (Effect(value=0.004, low=-math.inf, high=0.01), "ratio", "+0.4 points [−∞, +1]"),
        (Effect(value=0.004), "ratio", "+0.4 points"),
        (None, "s", None),
    ],
)
def test_differences_have_their_unit_once_where_that_is_clear(effect: Effect | None, unit: str, said: str) -> None:
    assert difference(effect, unit) == said


def test_a_change_without_a_share_is_told_in_the_unit_of_the_metric() -> None:
    assert change(estimate(2.0, 0.5, 0.1), "s") == "+25\u202f% [+15, +35]"
    assert change(estimate(2.0, 0.5, 0.1, relative=False), "s") == "+500 ms [+300, +700]"


# what it asks


def test_one_experiment_alone_is_shown_in_full_and_so_is_the_one_that_is_asked_for(house: House) -> None:
    started(house, "first")
    assert "Arms\n" in text_of(build_page("experiments", house.material()))
    started(house, "second")
    several = text_of(build_page("experiments", house.material()))
    assert "Arms\n" not in several
    assert "--experiment KEY" in several
    one = text_of(build_page("experiments", house.material(), experiment="second"))
    assert "second (running)" in one
    assert "Arms\n" in one
    assert "first" not in one


def test_of_many_experiments_only_the_first_are_compared(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def compare(key: str) -> Comparison:
        asked.append(key)
        return comparison(title=key)

    started(house, *(f"e{number:02d}" for number in range(MOST_SHOWN + 5)))
    house.experiments.stop("e00")
    monkeypatch.setattr(house.experiments, "compare", compare)
    text = text_of(build_page("experiments", house.material()))
    assert asked == [f"e{number:02d}" for number in range(1, MOST_SHOWN + 1)]
    assert text.count("── e") == MOST_SHOWN
    assert re.search(r"^e00 +stopped +50/50 +– ", text, re.MULTILINE)


def test_overview_and_report_compare_a_few_experiments_and_count_the_rest(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()

    def compare(key: str) -> Comparison:
        asked.add(key)
        return comparison(title=key)

    house.events += busy_week(days=1, a_day=60)
    started(house, *(f"e{number:02d}" for number in range(MOST_SHOWN + 2)))
    monkeypatch.setattr(house.experiments, "compare", compare)
    assert f"Active A/B Test: and {MOST_SHOWN - 1} more" in text_of(build_page("overview", house.material()))
    assert asked == {"e00", "e01", "e02"}
    assert "2 more experiments run; `barograph show experiments` lists them." in text_of(
        build_report(house.material(), 24)
    )
    assert len(asked) == MOST_SHOWN


def test_an_experiment_that_cannot_be_compared_says_why_and_the_others_stand(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(key: str) -> Comparison:
        if key == "bad":
            raise EngineUnavailable("the engine does not answer")
        return comparison()

    started(house, "bad", "good")
    monkeypatch.setattr(house.experiments, "compare", compare)
    text = text_of(build_page("experiments", house.material()))
    assert "It cannot be compared now: the engine does not answer" in text
    assert "Sample ratio: ok" in text


def test_a_draft_is_told_with_its_goal_and_its_arms(house: House) -> None:
    house.experiments.create(replace(VECTORS, variants=tuple(
        replace(one, payload={"index": one.key}) for one in VECTORS.variants
    )))  # fmt: skip
    text = plain(text_of(build_page("experiments", house.material(), experiment=VECTORS.key)))
    assert "Goal: User satisfaction. Also told: Error rate. Guardrails: Average response time." in text
    assert "It has not started" in text
    assert 'old 50 % {"index": "old"}' in text


def test_an_experiment_that_is_not_there_is_refused_and_so_is_one_on_another_page(house: House) -> None:
    with pytest.raises(UnknownExperiment):
        build_page("experiments", house.material(), experiment="nope")
    with pytest.raises(InvalidQuery, match="not about one experiment"):
        build_page("cost", house.material(), experiment="nope")


def test_the_report_shows_the_effect_over_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.events += busy_week(days=1, a_day=60)
    started(house, "only")
    monkeypatch.setattr(house.experiments, "compare", lambda key: comparison())
    text = text_of(build_report(house.material(), 24))
    assert "Experiment: Vector DB comparison" in text
    assert "Effect over time" in text


def test_details_are_asked_for_the_one_that_is_shown_in_full_and_may_fail_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def more(key: str) -> Details:
        asked.append(key)
        if len(asked) > 1:
            raise EngineUnavailable("the engine does not answer")
        return details()

    started(house, "one", "two")
    monkeypatch.setattr(house.experiments, "compare", lambda key: comparison())
    monkeypatch.setattr(house.experiments, "details", more)
    build_page("experiments", house.material())
    assert asked == []
    assert "Second opinions" in text_of(build_page("experiments", house.material(), experiment="two"))
    again = text_of(build_page("experiments", house.material(), experiment="two"))
    assert "Not answered: the engine does not answer" in again
    assert "Effect over time" in again
    assert asked == ["two", "two"]


# what cannot break it


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_hostile_names_and_sentences_cannot_act_and_nothing_is_too_wide(charset: CharsetName, width: int) -> None:
    check_harmless(hostile_page(), charset, width)


def hostile_page() -> Page:
    """Every text of a comparison and its details is an attack."""

    def hurt(name: str, value: object) -> object:
        if isinstance(value, str):
            return value if name in KEPT else HOSTILE
        if isinstance(value, tuple):
            return tuple(hurt(name, one) for one in value)
        if isinstance(value, dict):
            return {f"{HOSTILE}{at}": one for at, one in enumerate(value.values())}
        if isinstance(value, Struct):
            return replace(value, **{field: hurt(field, getattr(value, field)) for field in value.__struct_fields__})
        return value

    found, more = hurt("", comparison(stop_reason="x")), hurt("", details())
    assert isinstance(found, Comparison)
    assert isinstance(more, Details)
    arms = [replace(one, key=HOSTILE, payload={HOSTILE: HOSTILE}) for one in VECTORS.variants]
    return full(found, more, replace(VECTORS, variants=tuple(arms)))


# Texts of a known set, or that a renderer never sees.
KEPT = frozenset({"finding", "state", "stopping", "decided_by", "role", "better", "by", "label", "exposed_by_day",
                  "unit"})  # fmt: skip

NUMBER = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.floats(-3, 3), st.sampled_from([0.0, 1e-300]))
BOUND = st.one_of(st.none(), st.sampled_from([math.inf]), st.floats(0, 1e300))


@st.composite
def effects(draw: st.DrawFn) -> Effect | None:
    """As an estimate may have it: an interval that holds its value, with ends that are open, or none at all."""
    if draw(st.integers(0, 5)) == 0:
        return None
    value, down, up = draw(NUMBER), draw(BOUND), draw(BOUND)
    low = None if down is None else value - down
    high = None if up is None else value + up
    return Effect(value=value, low=low, high=high, p_value=draw(st.one_of(st.none(), st.floats(0, 1))))


@given(some=st.lists(st.tuples(effects(), effects()), min_size=12, max_size=12),
       width=st.sampled_from([20, 40, 60, 80, 120]), charset=st.sampled_from(CHARSETS))  # fmt: skip
@settings(max_examples=times(10, 500))
def test_no_effect_that_an_estimate_may_have_breaks_the_page(
    some: list[tuple[Effect | None, Effect | None]], width: int, charset: CharsetName
) -> None:
    found = comparison(days_running=20.0)
    drawn = iter(some)
    own = []
    for metric in metrics():
        absolute, relative = next(drawn)
        own.append(replace(metric, estimates=(replace(metric.estimates[0], absolute=absolute, relative=relative),)))
    assert found.course is not None
    steps = [
        replace(one, estimate=replace(one.estimate, absolute=absolute, relative=relative))
        for one, (absolute, relative) in zip(found.course.steps, drawn, strict=False)
    ]
    course = replace(found.course, steps=tuple(steps))
    found = replace(found, metrics=tuple(own), course=course)
    text = text_of(full(found, replace(details(), courses=(replace(course, by="tag.day"),))), charset, width)
    assert max(wcswidth(line) for line in text.splitlines()) <= width


if __name__ == "__main__":
    for kind, cells in LOOKS:
        drawn_text = text_of(full(comparison(), details()), kind, cells) + "\n"
        (GOLDEN / f"experiment-{kind}-{cells}.txt").write_text(drawn_text, encoding="utf-8")
