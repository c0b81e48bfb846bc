"""Which rules are in force: the file's, Python's, those kept in the control plane, the default ones; and at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.alerts.test_alert_manager import House

from barograph.alerts.alert import Notification
from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.notifier import Notifier
from barograph.alerts.rule_set import RuleSet
from barograph.alerts.rules.threshold import ThresholdRule
from barograph.control.alert_states import AlertStateRepository
from barograph.control.audit import AuditLog
from barograph.control.rules import RuleRepository
from barograph.core.metric import Catalogue, Measure, Metric
from barograph.core.settings import RuleSettings, Settings
from barograph.dashboard.delivery import Delivery
from barograph_client.errors import ControlError, InvalidRule

SLOW = RuleSettings(name="slow", metric="response_time.mean", above=5.0)
ERRORS = RuleSettings(name="errors", metric="error_rate", above=0.5)
MANY = RuleSettings(name="many", metric="queries", above=100.0)

_LINES = ["draft.toml, line 2", "draft.toml, line 5"]


class Kept(House):
    """A house with rules that are kept."""

    def set(self, *rules: RuleSettings, **how: Any) -> RuleSet:
        how = {"default": (ERRORS, SLOW), "kept": RuleRepository(self.plane), **how}
        return RuleSet(how.pop("catalogue", Catalogue()), rules, **how)

    def watch(self, rules: RuleSet, notifier: Notifier | None = None) -> AlertManager:
        made = AlertManager(
            self.reader, rules, AlertStateRepository(self.plane), self.recorded.append, self.clock, notifier=notifier
        )
        self.managers.append(made)
        return made


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path)
    yield made
    made.close()


def stand(rules: RuleSet) -> list[tuple[str, str]]:
    return [(rule.name, rules.source(rule.name)) for rule in rules.rules]


def changed(rule: RuleSettings, **fields: Any) -> RuleSettings:
    return RuleSettings(**{name: fields.get(name, getattr(rule, name)) for name in rule.__struct_fields__})


def test_the_default_rules_stand_beside_the_others_and_one_of_the_same_name_takes_its_place(house: Kept) -> None:
    rules = house.set(changed(SLOW, above=9.0), MANY)
    assert stand(rules) == [("slow", "file"), ("many", "file"), ("errors", "default")]
    assert rules.rules[0].above == 9.0


def test_a_default_rule_gives_way_to_one_that_watches_the_very_same_under_another_name(house: Kept) -> None:
    rules = house.set(changed(SLOW, name="mine", severity="critical", labels={"team": "search"}))
    assert stand(rules) == [("mine", "file"), ("errors", "default")]
    assert stand(house.set(changed(SLOW, name="mine", above=9.0)))[-1] == ("slow", "default")
    rules = house.set()
    rules.keep(changed(ERRORS, name="kept"), actor="ann")
    assert stand(rules) == [("kept", "kept"), ("slow", "default")]


def test_one_that_is_not_enabled_holds_its_name_and_does_nothing(house: Kept) -> None:
    rules = house.set(RuleSettings(name="slow", enabled=False))
    assert stand(rules) == [("errors", "default")]
    rules.keep(RuleSettings(name="errors", enabled=False), actor="ann")
    assert stand(rules) == []
    rules.remove("errors", actor="ann")
    assert stand(rules) == [("errors", "default")]


def test_of_a_file_the_wrong_rule_is_told_with_its_place(house: Kept) -> None:
    for wrong in (changed(MANY, metric="querys"), SLOW):
        with pytest.raises(InvalidRule, match=r"^barograph.toml, line 9: ") as refused:
            house.set(SLOW, wrong, places=["barograph.toml, line 2", "barograph.toml, line 9"])
        assert refused.value.hint


def test_a_kept_rule_is_in_force_at_once_survives_and_is_audited(house: Kept) -> None:
    rules = house.set()
    rules.keep(changed(MANY, where=("pipeline:eq:faq",), for_="2m"), actor="ann")
    rules.keep(changed(MANY, above=7.0), actor="bob")
    rules.keep(changed(SLOW, above=9.0), actor="bob")
    again = house.set()
    assert stand(again) == stand(rules) == [("many", "kept"), ("slow", "kept"), ("errors", "default")]
    assert [rule.above for rule in again.rules] == [7.0, 9.0, 0.5]
    again.remove("many", actor="eve")
    assert stand(again) == [("slow", "kept"), ("errors", "default")]
    told = [
        (one.actor, one.action, one.detail.get("above")) for one in AuditLog(house.plane).list("default", "rule:many")
    ]
    assert told == [("eve", "remove", 7.0), ("bob", "replace", 7.0), ("ann", "create", 100.0)]
    first = AuditLog(house.plane).list("default", "rule:many")[-1].detail
    assert first == {
        "name": "many", "metric": "queries", "above": 100.0, "for": "2m", "where": ["pipeline:eq:faq"],
    }  # fmt: skip


def test_a_project_sees_only_its_own(house: Kept) -> None:
    house.set(project="shop").keep(MANY, actor="ann")
    assert stand(house.set()) == [("errors", "default"), ("slow", "default")]
    with pytest.raises(InvalidRule, match="no rule of that name"):
        house.set().remove("many", actor="ann")


@pytest.mark.parametrize(
    ("rule", "said", "hint"),
    [
        (changed(MANY, metric="querys"), "no such metric", "queries"),
        (changed(MANY, name="filed"), "stands in barograph.toml", "Change it there"),
        (changed(MANY, name="added"), "added in Python", "program"),
        (RuleSettings(name="nosuch", enabled=False), "no rule of that name", "There are: filed, added"),
        (RuleSettings(name="code", kind="function", function="os:abort"), "names no code to run", ""),
        (changed(MANY, by=("nosuch",)), "cannot group by that", "pipeline"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_changes(
    house: Kept, rule: RuleSettings, said: str, hint: str
) -> None:
    rules = house.set(changed(MANY, name="filed"))
    rules.add(changed(MANY, name="added"))
    with pytest.raises(InvalidRule) as refused:
        rules.keep(rule, actor="ann")
    assert said in str(refused.value)
    assert hint in refused.value.hint
    assert RuleRepository(house.plane).list("default") == []


def test_of_several_rules_all_are_kept_or_none_and_the_wrong_one_is_told_with_its_place(house: Kept) -> None:
    rules = house.set()
    with pytest.raises(InvalidRule, match=r"^draft.toml, line 5: rule wrong: no such metric") as refused:
        rules.keep(MANY, changed(MANY, name="wrong", metric="querys"), actor="ann", places=_LINES)
    assert refused.value.hint
    assert RuleRepository(house.plane).list("default") == []
    rules.keep(MANY, changed(SLOW, above=9.0), actor="ann", places=_LINES)
    assert stand(rules) == stand(house.set()) == [("many", "kept"), ("slow", "kept"), ("errors", "default")]


@pytest.mark.parametrize(
    ("name", "said"), [("slow", "a default rule"), ("many", "stands in barograph.toml"), ("x", "no rule")]
)
def test_only_what_is_kept_can_be_removed(house: Kept, name: str, said: str) -> None:
    with pytest.raises(InvalidRule, match=said) as refused:
        house.set(MANY).remove(name, actor="ann")
    assert refused.value.hint


def test_a_rule_that_the_engine_cannot_answer_is_not_kept(house: Kept) -> None:
    def check(rule: ThresholdRule) -> None:
        if rule.name == "many":
            raise InvalidRule("rule many: queries have no such label", hint="Another one.")

    with pytest.raises(InvalidRule, match="no such label"):
        house.set(check=check).keep(MANY, actor="ann")
    assert RuleRepository(house.plane).list("default") == []


class TestWhileItRuns:
    def test_a_rule_is_made_replaced_and_removed_without_a_restart_also_by_another_process(self, house: Kept) -> None:
        manager = house.watch(house.set(default=()))
        elsewhere = house.set(default=())
        elsewhere.keep(changed(SLOW, for_="15s"), actor="ann")
        house.tick(manager, 2, response_time=9.0)
        assert [status.state for status in manager.rules()] == ["firing"]
        (firing,) = manager.alerts()
        elsewhere.keep(changed(SLOW, for_="15s", above=7.0), actor="ann")
        house.tick(manager, 1, response_time=9.0)
        (after,) = manager.alerts()
        assert (after.fingerprint, after.starts_at) == (firing.fingerprint, firing.starts_at)
        assert [status.condition for status in manager.rules()] == ["response_time.mean above 7 s over 5 min"]
        elsewhere.remove("slow", actor="ann")
        house.tick(manager, 1, response_time=9.0)
        assert manager.rules() == []
        assert manager.alerts() == []
        assert house.told()[-1] == ("firing", "removed")
        assert house.recorded[-1].message == "RESOLVED: the rule slow was removed while it fired"
        assert AlertStateRepository(house.plane).load("default") == []

    @pytest.mark.parametrize("restarted", [False, True])
    def test_who_was_told_that_it_fires_is_told_that_its_rule_was_switched_off(
        self, house: Kept, restarted: bool
    ) -> None:
        settings = msgspec.convert({"routing": {"route": {"group_wait": "1s", "group_interval": "15s"}}}, Settings)
        delivery = Delivery(settings, house.plane, house.clock, {})

        def life(manager: AlertManager) -> list[Notification]:
            assert manager.notifier is not None
            for _ in range(4):
                house.tick(manager, 1, response_time=9.0)
                manager.notifier.step(house.clock.now())
            rows = reversed(delivery.outbox.list())
            return [msgspec.convert(row.body, Notification) for row in rows]

        manager = house.watch(house.set(default=(SLOW,)), delivery.notifier("default"))
        assert [one.status for one in life(manager)] == ["firing"]
        house.set(default=(SLOW,)).keep(RuleSettings(name="slow", enabled=False), actor="ann")
        if restarted:
            manager = house.watch(house.set(default=(SLOW,)), delivery.notifier("default"))
        told = life(manager)
        assert [one.status for one in told] == ["firing", "resolved"]
        assert told[1].alerts[0].annotations["summary"] == (
            "The rule slow was switched off while it fired. Last: Response time exceeded 5 s threshold (current: 9 s)"
        )
        assert (manager.rule_set.off, manager.rule_set.source("slow")) == (("slow",), "kept")

    def test_groups_that_a_rule_has_no_more_are_resolved_also_over_a_restart(self, house: Kept) -> None:
        elsewhere = house.set(default=())
        elsewhere.keep(changed(SLOW, window="1m", by=("model",)), actor="ann")
        manager = house.watch(house.set(default=()))
        house.tick(manager, 2, response_time=9.0, model="a")
        assert [alert.labels for alert in manager.active()] == [{"model": "a"}]
        elsewhere.keep(changed(SLOW, window="1m"), actor="ann")
        after = house.watch(house.set(default=()))
        for one in (manager, after):
            house.tick(one, 1, response_time=1.0)
            assert {"model": "a"} not in [alert.labels for alert in one.active()]
        ended = [(a.previous, a.state) for a in house.recorded[1:] if a.labels == {"model": "a"}]
        assert ended == [("firing", "removed")] * 2

    def test_here_it_is_heeded_before_the_next_tick(self, house: Kept) -> None:
        manager = house.watch(house.set())
        manager.rule_set.keep(MANY, actor="ann")
        manager.reload()
        assert next((status.rule, status.source) for status in manager.rules()) == ("many", "kept")

    def test_what_a_detector_learned_goes_on_unless_the_rule_is_about_something_else(self, house: Kept) -> None:
        manager = house.watch(house.set(default=()))
        rule = RuleSettings(name="odd", metric="queries", kind="anomaly", window="1m")

        def learned() -> list[str]:
            house.tick(manager, 8, response_time=1.0)
            return [row.state for row in AlertStateRepository(house.plane).load_detectors("default")]

        manager.rule_set.keep(rule, actor="ann")
        first = learned()
        assert len(first) == 1
        known = manager.rules()[0].reason
        manager.rule_set.keep(changed(rule, false_alarms=2.0, severity="info"), actor="ann")
        learned()
        assert manager.rules()[0].reason != known  # it went on learning
        assert int(manager.rules()[0].reason.split()[4]) > int(known.split()[4])
        manager.rule_set.remove("odd", actor="ann")
        assert learned() == []

    def test_one_that_cannot_be_used_any_more_is_told_and_holds_up_no_other(self, house: Kept) -> None:
        own = Metric(
            name="own", title="Own", unit="1", aggregation="mean", better="neutral", sentence="Own.",
            of=Measure("metric", "value", name="own"), user_defined=True,
        )  # fmt: skip
        house.set(catalogue=Catalogue([own])).keep(RuleSettings(name="mine", metric="own", above=1.0), actor="ann")
        RuleRepository(house.plane).put("default", {"later": {"name": "later", "nosuch": 1}}, actor="ann")
        catalogue = Catalogue()
        manager = house.watch(house.set(catalogue=catalogue))
        house.tick(manager)
        states = {status.rule: (status.state, status.reason) for status in manager.rules()}
        assert states["errors"][0] == "nodata"
        assert states["mine"][0] == states["later"][0] == "error"
        assert "no such metric" in states["mine"][1]
        assert "nosuch" in states["later"][1]
        told = {alert.labels["rule"]: alert for alert in manager.alerts()}
        assert {alert.labels["alertname"] for alert in told.values()} == {"RuleError"}
        assert set(told) == {"mine", "later"}
        catalogue.add(own)  # as DashboardInterface.add_metric does
        house.tick(manager)
        assert [broken.settings.name for broken in manager.rule_set.broken] == ["later"]

    def test_a_control_plane_that_is_away_leaves_the_rules_as_they_are(
        self, house: Kept, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manager = house.watch(house.set())

        def away(*_: object) -> int:
            raise ControlError("it is away")

        monkeypatch.setattr(RuleRepository, "changed", away)
        house.tick(manager)
        assert [status.rule for status in manager.rules()] == ["errors", "slow"]
        assert "it is away" in manager.counters.last_error
