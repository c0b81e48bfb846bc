"""What programs are told of experiments, and that they then decide as the server does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs, to_builtins
from tests.server.access_support import control, make_key
from tests.support.serving import Reply, Serving

from barograph.control.experiments import ExperimentRepository
from barograph.core.metric import Catalogue
from barograph.experiments.assignment import definition_of
from barograph.experiments.design import Experiment, State, Variant, validated
from barograph_client import Client
from barograph_client.experiments.assignment import Assigner
from barograph_client.experiments.definition import Namespace

PATH = "/api/v1/experiments/definitions"
RERANK = validated(
    Experiment(
        key="rerank",
        variants=(Variant(key="control", weight=0.5), Variant(key="more", weight=0.5, payload={"top_k": 20})),
        primary_metric="satisfaction",
        condition={"plan": {"$in": ["paid"]}},
        namespace=Namespace(name="retrieval", end=0.7),
        coverage=0.8,
        holdout=0.1,
    ),
    Catalogue(),
)


class Site:
    """A server, and its experiments as its command line would change them."""

    def __init__(self, server: Serving) -> None:
        self.server = server
        self.key = make_key(server.directory, "ingest")

    def ask(self, **headers: str) -> Reply:
        return self.server.ask(PATH, headers={name.replace("_", "-"): value for name, value in headers.items()},
                               key=self.key)  # fmt: skip

    def keep(self, key: str, state: State) -> None:
        definition = to_builtins(structs.replace(RERANK, key=key))
        with control(self.server.directory) as plane:
            ExperimentRepository(plane).create("default", key, definition, state, actor="test")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Serving(tmp_path_factory.mktemp("experiments") / "data", toml="default_rules = false\n") as running:
        made = Site(running)
        states: tuple[State, ...] = ("draft", "running", "paused", "stopped", "archived")
        for state in states:
            made.keep(state, state)
        yield made


def test_those_that_run_rest_or_were_stopped_are_told_and_nothing_of_goals(site: Site) -> None:
    told: dict[str, Any] = site.ask().json
    assert told["project"] == "default"
    assert {one["key"]: one.get("state", "running") for one in told["experiments"]} == {
        state: state for state in ("running", "paused", "stopped")
    }
    assert "satisfaction" not in site.ask().body.decode()


def test_what_has_not_changed_is_not_sent_again(site: Site) -> None:
    first = site.ask()
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        again = site.ask(If_None_Match=known)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    site.keep("another", "running")
    changed = site.ask(If_None_Match=etag)
    assert (changed.status, changed.headers["etag"] == etag) == (200, False)


def test_a_client_decides_as_the_server_would(site: Site, tmp_path: Path) -> None:
    with Client(site.server.url, site.key, spool=tmp_path / "spool", environment={}) as client:
        assert client.experiments.wait(30)
        assigner = Assigner(definition_of(structs.replace(RERANK, key="running", state="running")))
        reasons = set()
        for unit in (f"user-{n}" for n in range(300)):
            ours = client.experiments.assign("running", user=unit, attributes={"plan": "paid"})
            theirs = assigner.decide({"user": unit}, {"plan": "paid"})
            assert (ours.arm, ours.reason, dict(ours.payload)) == (theirs.arm, theirs.reason, dict(theirs.payload))
            reasons.add(ours.reason)
        assert reasons == {"assigned", "not covered", "another namespace", "held out"}
        assert client.experiments.expose("running", user="user-1", attributes={"plan": "free"}).arm is None
