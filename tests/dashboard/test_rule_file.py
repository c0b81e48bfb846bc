"""What is found in a file before it is in use is what a start would say, all of it, each with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from barograph.core.settings import ServerSettings
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.dashboard.rule_file import RuleFile, check_file, read_rules
from barograph.server.serve import check
from barograph_client.errors import InvalidInput, InvalidSettings

# Each line with a comment has the problems that the comment names.
WRONG = """
timezone = "Mars"                                                   # timezone: no such time zone (got Mars)
[[rule]]                                                            # rule: there is no such setting
name = "x"
[budgt]                                                             # Did you mean budget?
[[metrics]]                                                         # metrics[0]: 'of' is
name = "queue"
of = "queue"
[[rules]]                                                           # prod: query events have no dimension enviroment
name = "prod"
metric = "error_rate"
above = 0.1
where = ["enviroment:eq:prod"]
[[rules]]
name = "again"
metric = "error_rate"
above = "0.1"                                                       # again: above: must be a number, not text
severity = "crit"                                                   # again: severity: must be one of info, warning
[[rules]]
name = "runs"
kind = "function"
function = "no_such_module:rule"                                    # runs: function: there is no module no_such_module
[[rules]]
name = "few"
metric = "queries"
below = 3
runbook = "x"                                                       # few: runbook is no address
[[receivers]]
name = "x"
targets = [
  { type = "slack" },                                               # receivers[0].targets[0]: the URL | given nowhere
  { type = "webhook", url = "ftp://x" },                            # receivers[0].targets[1]: | http or https
]
[[receivers]]
name = "z"
targets = [{ type = "slack", url_env = "NO_SUCH_URL" }]             # the variable NO_SUCH_URL is empty or not there
[[receivers]]                                                       # receivers[2]: two receivers have the same name
name = "z"
[routing.route]
receiver = "z"
routes = [
  { matchers = ["severity"], receiver = "z" },                      # routing.route.routes[0].matchers: not a matcher
  { matchers = ["a=b"], receiver = "nobody" },                      # routing.route.routes[1]: there is no such receiver
]
[[routing.maintenance]]                                             # routing.maintenance[0]: not a time of day
name = "m"
start = "5"
end = "6"
[server]                                                            # server: TLS needs both files
certificate = "chain.pem"
[collect]                                                           # collect: there is no such redaction
redact = ["emal"]
[engine]
address = "foo://"                                                  # engine.address: must begin with chdb:
[status]
window = "soon"                                                     # status.window: not a duration
"""


def found_in(path: Path, text: str) -> RuleFile:
    path.write_text(text, encoding="utf-8")
    return check_file(path, {}, lambda settings: check(settings, keys_exist=True))


def start(directory: Path) -> None:
    """As far as a server of that directory goes before it opens the engine."""
    with DashboardInterface(directory, environment={}, background=False) as dashboard:
        dashboard.parts.delivery.check()


def test_all_that_would_keep_a_server_from_starting_is_found_each_with_its_line(tmp_path: Path) -> None:
    found = found_in(tmp_path / "draft.toml", WRONG)
    wanted = {
        number: said.split(" | ")
        for number, line in enumerate(WRONG.split("\n"), 1)
        if (said := line.partition("# ")[2])
    }
    told = {one.line: f"{one.rule or one.place}: {one.problem}. {one.hint}" for one in found.problems}
    assert told.keys() == wanted.keys()
    assert len(found.problems) == len(told)
    for line, parts in wanted.items():
        assert all(part in told[line] for part in parts), told[line]
    assert found.rules == ()


@pytest.mark.parametrize(
    "text",
    [
        '[[rules]]\nname = "a"\nmetric = "error_rate"\nabove = 0.1\nwhere = ["enviroment:eq:prod"]\n',
        '[[receivers]]\nname = "a"\ntargets = [{ type = "slack", url_env = "NO_SUCH_URL" }]\n',
        '[[receivers]]\nname = "a"\ntargets = [{ type = "log" }, { type = "log" }]\n',
        'timezone = "Mars"\n',
        '[[rules]]\nname = "a"\nmetric = "error_rate"\nabove = 0.1\n[budget]\ndaily = 5\n',
    ],
)
def test_a_file_has_a_problem_exactly_when_a_start_with_it_is_refused(tmp_path: Path, text: str) -> None:
    found = found_in(tmp_path / "barograph.toml", text)
    if not found.problems:
        start(tmp_path)
        return
    with pytest.raises(InvalidInput) as refused:
        start(tmp_path)
    assert any(one.problem.partition(" (got")[0] in refused.value.message for one in found.problems)


def test_what_the_variables_have_wrong_is_a_problem_without_a_line(tmp_path: Path) -> None:
    (tmp_path / "draft.toml").write_text('project = "a"\n', encoding="utf-8")
    variables = {"BAROGRAPH_BUDGET__DAILY": "much"}
    (problem,) = check_file(tmp_path / "draft.toml", variables, lambda settings: None).problems
    assert (problem.line, problem.place) == (0, "")
    assert "BAROGRAPH_BUDGET__DAILY: must be a number" in problem.problem


def test_where_the_server_could_not_listen_is_told_of_that_setting(tmp_path: Path) -> None:
    def refuse(settings: ServerSettings) -> None:
        if settings.port == 1:
            raise InvalidSettings("that port is taken")

    (tmp_path / "draft.toml").write_text('project = "a"\n[server]\nport = 1\n', encoding="utf-8")
    (problem,) = check_file(tmp_path / "draft.toml", {}, refuse).problems
    assert (problem.line, problem.place, problem.problem) == (2, "server", "that port is taken")


def test_rules_are_read_without_the_secrets_of_receivers(tmp_path: Path) -> None:
    path = tmp_path / "draft.toml"
    path.write_text(
        '[[rules]]\nname = "a"\nmetric = "queries"\nbelow = 3\n'
        '[[receivers]]\nname = "b"\ntargets = [{ type = "slack", url_env = "NO_SUCH_URL" }]\n',
        encoding="utf-8",
    )
    found = read_rules(path)
    assert (found.rule("a").metric, found.places, found.problems) == ("queries", (f"{path}, line 1",), ())
