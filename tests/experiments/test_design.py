"""A definition that does not hold together is refused with a hint; one that runs cannot be bent."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from barograph.core.metric import Catalogue
from barograph.experiments.design import (
    MOST_PAUSES,
    MOVES,
    Experiment,
    Guardrail,
    Pause,
    State,
    Variant,
    check_revision,
    equal_variants,
    moved,
    validated,
)
from barograph.experiments.horizon import horizon
from barograph_client.errors import InvalidExperiment
from barograph_client.experiments.definition import Namespace

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
GOOD = Experiment(
    key="rerank",
    variants=equal_variants("control", "reranked"),
    primary_metric="satisfaction",
    guardrails=(Guardrail(metric="response_time.mean", margin=0.1),),
)


def changed(**values: object) -> Experiment:
    return structs.replace(GOOD, **values)


class TestDefinition:
    def test_that_holds_gets_its_control_and_salt(self) -> None:
        checked = validated(GOOD, Catalogue())
        assert checked.control == "control"
        assert checked.salt == "default\0rerank"
        assert validated(checked, Catalogue()) == checked

    def test_written_with_lists_and_dictionaries_is_the_same(self) -> None:
        loose = changed(
            variants=[{"key": "control", "weight": 0.5}, {"key": "reranked", "weight": 0.5}],
            guardrails=[{"metric": "response_time.mean", "margin": 0.1}],
        )
        assert validated(loose, Catalogue()) == validated(GOOD, Catalogue())

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"key": ""}, "key is empty"),
            ({"primary_metric": "metric.load", "better": "lower"}, "belong to no user"),
            ({"secondary_metrics": ("system.cpu",)}, "belong to no user"),
            ({"key": " rerank"}, "cannot be used"),
            ({"key": "re\x1b[2Jrank"}, "cannot be used"),
            ({"key": "a:b"}, "colon"),
            ({"key": "\ud800"}, "cannot be used"),
            ({"key": "x" * 129}, "cannot be used"),
            ({"variants": ()}, "two arms"),
            ({"variants": equal_variants("control")}, "two arms"),
            ({"variants": equal_variants("a", "a")}, "same key"),
            ({"variants": equal_variants("a", "")}, "key is empty"),
            ({"variants": (Variant(key="a", weight=0.5), Variant(key="b", weight=0.4))}, "sum to 0.9"),
            ({"variants": (Variant(key="a", weight=50), Variant(key="b", weight=50))}, "not a share"),
            ({"variants": (Variant(key="a", weight=-0.5), Variant(key="b", weight=1.5))}, "not a share"),
            ({"variants": (Variant(key="a", weight=math.nan), Variant(key="b", weight=1.0))}, "not a share"),
            ({"variants": (Variant(key="a", weight=0.0), Variant(key="b", weight=1.0))}, "only one arm"),
            ({"variants": equal_variants(*map(str, range(51)))}, "50 arms"),
            ({"variants": (Variant(key="a", weight=0.5, payload={"k": math.inf}), *equal_variants("b"))}, "JSON"),
            ({"variants": (Variant(key="a", weight=0.5, payload={"k": "x" * 70_000}), *equal_variants("b"))}, "longer"),
            ({"control": "nobody"}, "not one of the arms"),
            ({"unit_kind": ""}, "unit kind's key is empty"),
            ({"coverage": 0.0}, "coverage"),
            ({"coverage": 1.5}, "coverage"),
            ({"coverage": "all"}, "not well-formed"),
            ({"alpha": 0.0}, "alpha"),
            ({"power": 0.01}, "power"),
            ({"minimum_effect": 0.0}, "minimum effect"),
            ({"minimum_units": 1}, "minimum of units"),
            ({"planned_days": -1.0}, "planned days"),
            ({"planned_units": 0}, "planned units"),
            ({"primary_metric": "satisfacton"}, "Did you mean satisfaction"),
            ({"primary_metric": ""}, "has no primary_metric"),
            ({"secondary_metrics": ("",)}, "no such metric"),
            ({"primary_metric": "response_time.p95"}, "response_time.mean instead"),
            ({"primary_metric": "active_users"}, "cannot be compared"),
            ({"primary_metric": "queries"}, "which way queries is better"),
            ({"secondary_metrics": ("nothing.like.it",)}, "no such metric"),
            ({"secondary_metrics": ("satisfaction",)}, "named twice"),
            ({"guardrails": (Guardrail(metric="cost_per_query", margin=0.0),)}, "margin"),
            ({"guardrails": (Guardrail(metric="queries", margin=0.1),)}, "neither way is worse"),
            ({"hypothesis": "x" * 5000}, "longer"),
            ({"unit_kind": "attributes"}, "unit kind cannot be used"),
            ({"hash_version": "md5"}, "not well-formed"),
            ({"condition": {"plan": {"$regx": "x"}}}, "no operator $regx"),
            ({"condition": {"$and": {"plan": "paid"}}}, "$and takes a list"),
            ({"condition": {"plan": {"$in": "paid"}}}, "$in takes a list"),
            ({"condition": {"plan": {"$regex": "("}}}, "regular expression"),
            ({"condition": {"$xor": []}}, "no way to join"),
            ({"condition": {"plan": {"$eq": math.nan}}}, "not JSON"),
            ({"condition": {"plan": {"$in": ["x" * 70_000]}}}, "more than 65,536"),
            ({"namespace": Namespace(name="n", start=0.5, end=0.5)}, "part of the namespace is none"),
            ({"namespace": Namespace(name="n", start=math.nan)}, "part of the namespace is none"),
            ({"namespace": Namespace(name="")}, "namespace's key is empty"),
            ({"holdout": 0.9}, "holdout must lie"),
            ({"forced": {"u": "nobody"}}, "arm that is none"),
            ({"forced": {"x" * 1_000_000: "control"}}, "256 characters"),
            ({"forced": {str(n): "control" for n in range(101)}}, "100 units"),
            ({"bucket_version": 1}, "sticky=True"),
            ({"fallback_unit_kind": "session"}, "sticky=True"),
            ({"sticky": True, "fallback_unit_kind": "user"}, "fallback unit kind"),
            ({"sticky": True, "min_bucket_version": 1}, "the least not above"),
        ],
    )
    def test_that_does_not_hold_is_refused_by_name(self, values: dict[str, object], says: str) -> None:
        with pytest.raises(InvalidExperiment) as caught:
            validated(changed(**values), Catalogue())
        assert says in str(caught.value)
        assert str(caught.value).isprintable()

    def test_nested_conditions_are_refused_at_a_depth(self) -> None:
        condition: dict[str, object] = {"plan": "paid"}
        for _ in range(30):
            condition = {"$not": condition}
        with pytest.raises(InvalidExperiment, match="nested deeper"):
            validated(changed(condition=condition), Catalogue())

    def test_with_the_hash_of_growthbook_the_key_is_the_seed(self) -> None:
        assert validated(changed(hash_version="growthbook-v2"), Catalogue()).salt == "rerank"

    def test_a_control_without_weight_is_refused(self) -> None:
        arms = (Variant(key="a", weight=0.0), Variant(key="b", weight=0.5), Variant(key="c", weight=0.5))
        with pytest.raises(InvalidExperiment, match="no weight"):
            validated(changed(variants=arms), Catalogue())

    def test_a_metric_without_direction_is_taken_once_one_is_given(self) -> None:
        assert validated(changed(primary_metric="queries", better="higher"), Catalogue()).better == "higher"


class TestLife:
    def test_goes_one_way_and_may_rest(self) -> None:
        experiment = GOOD
        for state in ("running", "paused", "running", "stopped", "archived"):
            experiment = moved(experiment, state, NOW)
            assert experiment.state == state

    @pytest.mark.parametrize(
        ("before", "after"), [(a, b) for a, allowed in MOVES.items() for b in MOVES if b not in allowed]
    )
    def test_other_moves_are_refused_with_those_that_are_possible(self, before: str, after: str) -> None:
        says = f"the experiment is {before} already" if before == after else f"that is {before} cannot become {after}"
        with pytest.raises(InvalidExperiment, match=says):
            moved(changed(state=before), after, NOW)

    def test_days_running_leave_out_pauses_and_end_with_the_stop(self) -> None:
        day = timedelta(days=1)
        running = moved(GOOD, "running", NOW)
        assert running.days_running(NOW + 2 * day) == 2
        paused = moved(running, "paused", NOW + 2 * day)
        assert paused.days_running(NOW + 9 * day) == 2
        again = moved(paused, "running", NOW + 5 * day)
        assert again.days_running(NOW + 6 * day) == 3
        assert moved(again, "stopped", NOW + 7 * day).days_running(NOW + 70 * day) == 4
        assert moved(paused, "stopped", NOW + 5 * day).days_running(NOW + 70 * day) == 2

    def test_of_days_and_units_the_later_one_is_the_planned_end(self) -> None:
        day = timedelta(days=1)
        running = moved(changed(planned_days=3, planned_units=50), "running", NOW)
        for when, end in ((4, datetime(2026, 11, 29, tzinfo=UTC)), (1, NOW + 3 * day)):
            by_day = [((NOW + when * day).date().isoformat(), 50)]
            assert horizon(running, NOW + 20 * day, by_day) == end
        assert horizon(running, NOW + 20 * day, [("2026-11-24", 49)]) is None

    @pytest.mark.parametrize("then", ["running", "stopped"])
    def test_a_pause_after_the_planned_end_does_not_move_it(self, then: State) -> None:
        day = timedelta(days=1)
        running = moved(changed(planned_days=3), "running", NOW)
        for pause, end in ((2, 8), (3, 3), (5, 3)):
            paused = moved(running, "paused", NOW + pause * day)
            after = moved(paused, then, NOW + (pause + 5) * day)
            assert horizon(after, NOW + 20 * day) == (NOW + end * day if then == "running" or pause > 2 else None)
            assert after.days_running(NOW + 20 * day) == (15 if then == "running" else pause)
            assert after.days_running(NOW + (pause + 1) * day) == pause  # as it was then, seen from later
        assert after.days_running(NOW + day) == (1 if then == "running" else 5)
        moves: list[tuple[int, State]] = [(1, "paused"), (4, "running"), (5, "paused"), (6, then)]
        for moment, state in moves:
            running = moved(running, state, NOW + moment * day)
        assert running.paused_seconds == 4 * DAY.total_seconds()
        assert horizon(running, NOW + 20 * day) == (NOW + 7 * day if then == "running" else None)
        assert GOOD.days_running(NOW) == 0

    def test_pauses_are_kept_in_their_order_whatever_the_clock_says(self) -> None:
        moves: list[tuple[State, int]] = [("paused", 5), ("running", 8), ("paused", 6), ("running", 7), ("paused", 7)]
        experiment = moved(GOOD, "running", NOW)
        for state, hours in (*moves, ("running", 9)):
            experiment = moved(experiment, state, NOW + hours * HOUR)  # after the first pause it was set back
        assert experiment.pauses == (
            Pause(start=NOW + 5 * HOUR, end=NOW + 8 * HOUR), Pause(start=NOW + 8 * HOUR, end=NOW + 9 * HOUR),
        )  # fmt: skip
        assert moved(moved(experiment, "paused", NOW + 9 * HOUR), "stopped", NOW + 9 * HOUR).pauses == experiment.pauses

    def test_an_experiment_is_paused_no_more_often_than_can_be_analysed(self) -> None:
        pauses = tuple(Pause(start=NOW + n * DAY, end=NOW + n * DAY + HOUR) for n in range(MOST_PAUSES))
        with pytest.raises(InvalidExperiment, match="paused 100 times"):
            moved(changed(state="running", started_at=NOW, pauses=pauses), "paused", NOW + 200 * DAY)
        paused = changed(state="paused", started_at=NOW, pauses=pauses[1:], paused_at=NOW + 150 * DAY)
        assert len(moved(paused, "stopped", NOW + 200 * DAY).pauses) == MOST_PAUSES

    def test_a_clock_that_was_set_back_gives_no_negative_days(self) -> None:
        assert moved(GOOD, "running", NOW).days_running(NOW - timedelta(hours=1)) == 0


class TestRevision:
    @pytest.mark.parametrize(
        "values",
        [
            {"variants": equal_variants("control", "renamed")},
            {"variants": equal_variants("control")},
            {"variants": (Variant(key="control", weight=0.9), Variant(key="reranked", weight=0.1))},
            {"control": "reranked"},
            {"salt": "other"},
            {"unit_kind": "session"},
            {"primary_metric": "accuracy"},
            {"alpha": 0.2},
            {"coverage": 0.1},
            {"condition": {"plan": "paid"}},
            {"namespace": Namespace(name="n", end=0.5)},
            {"holdout": 0.1},
            {"hash_version": "growthbook-v1"},
            {"sticky": True},
        ],
    )
    @pytest.mark.parametrize("state", ["running", "paused"])
    def test_of_what_was_promised_is_refused_once_it_has_started(self, values: dict[str, object], state: str) -> None:
        before = changed(state=state, coverage=0.5)
        with pytest.raises(InvalidExperiment, match=r"frozen|raised"):
            check_revision(before, structs.replace(before, **values))
        check_revision(changed(coverage=0.5), changed(**values))  # a draft may still become anything

    @pytest.mark.parametrize(
        "values",
        [
            {"planned_days": 1.0}, {"planned_units": 100}, {"minimum_units": 2}, {"pre_days": 7},
            {"caps": {"satisfaction": 0.9}}, {"equivalence_margin": 0.5},
            {"correction": "benjamini-hochberg"},
        ],
    )  # fmt: skip
    def test_of_what_the_verdict_rests_on_is_refused_to_who_has_seen_numbers(self, values: dict[str, object]) -> None:
        running = changed(state="running")
        with pytest.raises(InvalidExperiment, match=f"{next(iter(values))} is frozen"):
            check_revision(running, structs.replace(running, **values))

    @pytest.mark.parametrize(
        ("arms", "says"),
        [
            (equal_variants("control", "renamed"), "arm reranked was removed or renamed"),
            (equal_variants("control", "reranked", "third"), "arm third was added"),
            ((GOOD.variants[0], structs.replace(GOOD.variants[1], payload={"top_k": 9})), "payload of arm reranked"),
        ],
    )
    def test_of_arms_says_which_one_it_is_and_is_refused_of_sticky_ones_too(
        self, arms: tuple[Variant, ...], says: str
    ) -> None:
        before = changed(state="running", sticky=True)
        with pytest.raises(InvalidExperiment, match=says):
            check_revision(before, structs.replace(before, variants=arms))

    def test_of_weights_is_free_where_units_keep_their_arms(self) -> None:
        before = changed(state="running", sticky=True)
        arms = (Variant(key="control", weight=0.9), Variant(key="reranked", weight=0.1))
        check_revision(before, structs.replace(before, variants=arms, forced={"tester": "reranked"}))

    @pytest.mark.parametrize(
        "guards",
        [
            (),
            (Guardrail(metric="response_time.mean", margin=0.3),),
            (Guardrail(metric="response_time.mean", margin=0.1, relative=False),),
            (Guardrail(metric="error_rate", margin=0.1),),
            (*GOOD.guardrails, Guardrail(metric="error_rate", margin=0.1)),
        ],
    )
    def test_of_guardrails_is_refused_as_their_number_divides_alpha(self, guards: tuple[Guardrail, ...]) -> None:
        before = changed(state="running")
        with pytest.raises(InvalidExperiment, match="guardrails is frozen") as refused:
            check_revision(before, structs.replace(before, guardrails=guards))
        assert refused.value.field == "guardrails"
        assert "auto_stop" in str(refused.value)

    def test_of_whether_a_guardrail_stops_is_free_and_so_is_their_order(self) -> None:
        guards = (*GOOD.guardrails, Guardrail(metric="error_rate", margin=0.1, auto_stop=False))
        before = changed(state="running", guardrails=guards)
        after = tuple(structs.replace(one, auto_stop=not one.auto_stop) for one in reversed(guards))
        check_revision(before, structs.replace(before, guardrails=after))

    def test_secondary_metrics_may_be_added_and_not_dropped(self) -> None:
        before = changed(state="running", secondary_metrics=("accuracy", "error_rate"))
        check_revision(before, structs.replace(before, secondary_metrics=("error_rate", "accuracy", "cost")))
        with pytest.raises(InvalidExperiment, match="accuracy cannot be dropped") as refused:
            check_revision(before, structs.replace(before, secondary_metrics=("error_rate",)))
        assert refused.value.field == "secondary_metrics"

    def test_of_words_secondary_metrics_and_coverage_upwards_is_free(self) -> None:
        before = changed(state="running", coverage=0.5)
        check_revision(before, structs.replace(before, coverage=0.8, title="T", secondary_metrics=("accuracy",)))

    @pytest.mark.parametrize("state", ["stopped", "archived"])
    def test_of_history_is_refused(self, state: str) -> None:
        before = changed(state=state)
        with pytest.raises(InvalidExperiment, match="history"):
            check_revision(before, structs.replace(before, title="better than it was"))
