"""Who may do what over HTTP: keys, their scopes and lives, web pages of other sites, and where it may listen."""

from __future__ import annotations

import stat
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.server.access_support import make_key, revoke, token_of
from tests.support import forked
from tests.support.serving import Reply, Serving

from barograph.control.keys import Scope
from barograph.server.routes import ROUTES, Route

SITE = "https://notes.example"
EVENT = {"query": "hello"}
MAY = {"ingest": {"open", "ingest"}, "read": {"open", "read"}, "admin": {"open", "ingest", "read", "admin"}}


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """On loopback, without any key."""
    with Serving(tmp_path_factory.mktemp("open") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """With keys, one listed origin and one listed name."""
    directory = tmp_path_factory.mktemp("keys") / "data"
    toml = f'[server]\norigins = ["{SITE}"]\nnames = ["barograph.example"]\n'
    directory.mkdir()
    make_key(directory, "read")
    with Serving(directory, toml=toml) as running:
        yield running


@pytest.fixture(scope="module")
def keys(server: Serving) -> dict[str, str]:
    return {scope: make_key(server.directory, scope) for scope in ("ingest", "read", "admin")}


def ask(server: Serving, route: Route, key: str = "", **headers: str) -> Reply:
    """A request that the route would answer, if it lets who asks."""
    path = route.path.replace("{id}", "nothing").replace("{page}", "overview")
    return server.ask(path, {} if route.method == "POST" else None, headers, key=key, method=route.method)


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


class TestScopes:
    @pytest.mark.parametrize("scope", ["ingest", "read", "admin"])
    @pytest.mark.parametrize("route", ROUTES, ids=named)
    def test_a_key_opens_what_its_scope_says_and_nothing_else(
        self, server: Serving, keys: dict[str, str], route: Route, scope: Scope
    ) -> None:
        reply = ask(server, route, keys[scope])
        if route.scope in MAY[scope]:
            assert reply.status not in (401, 403), reply.body
        else:
            assert reply.status == 403, reply.body

    @pytest.mark.parametrize("route", ROUTES, ids=named)
    def test_nothing_but_the_open_routes_without_a_key(self, server: Serving, route: Route) -> None:
        reply = ask(server, route)
        if route.scope == "open":
            assert reply.status in (200, 503)
        else:
            assert reply.status == 401
            assert reply.headers["www-authenticate"].startswith("Bearer")

    def test_only_the_token_of_this_machine_may_take_care(self, server: Serving, keys: dict[str, str]) -> None:
        assert server.ask("/api/v1/care/verify", b"", key=keys["admin"], method="POST").status == 403
        assert server.ask("/api/v1/care/verify", b"", key=token_of(server), method="POST").json["ok"] is True
        assert stat.S_IMODE((server.directory / "lock").stat().st_mode) == 0o600

    def test_a_server_that_stopped_has_no_token(self, tmp_path: Path) -> None:
        with Serving(tmp_path / "data") as running:
            assert len(token_of(running)) >= 32
            running.stop()
            assert not token_of(running)

    def test_another_scheme_is_refused_and_the_case_of_bearer_does_not_matter(
        self, server: Serving, keys: dict[str, str]
    ) -> None:
        for wrong in (f"Basic {keys['read']}", keys["read"], f"Token {keys['read']}", "Bearer", "Bearer ", " "):
            assert server.ask("/api/v1/stats", headers={"Authorization": wrong}).status == 401, wrong
        for right in (f"bearer {keys['read']}", f"BEARER  {keys['read']} "):
            assert server.ask("/api/v1/stats", headers={"Authorization": right}).status == 200, right

    def test_a_key_that_is_almost_right_opens_nothing(self, server: Serving, keys: dict[str, str]) -> None:
        key = keys["read"]
        changed = key[:-1] + ("0" if key[-1] != "0" else "1")
        for wrong in (changed, key.replace("_read_", "_admin_"), key[:-1], f"{key}0", "x" * 5000, "é"):
            reply = server.ask("/api/v1/stats", headers={"Authorization": f"Bearer {wrong}".encode().decode("latin-1")})
            if wrong.startswith("barograph_admin"):
                assert reply.status in (200, 401)  # the scope is the row's, never the text's
            else:
                assert reply.status == 401, wrong
        assert server.ask("/api/v1/events", EVENT, key=key.replace("_read_", "_admin_")).status in (401, 403)

    def test_no_answer_repeats_a_key(self, server: Serving, keys: dict[str, str]) -> None:
        wrong = keys["read"][:-4] + "0000"
        assert wrong.encode() not in server.ask("/api/v1/stats", key=wrong).body
        assert keys["read"] not in server.errors()


class TestLifeOfAKey:
    def test_a_revoked_key_is_refused_within_a_second(self, server: Serving) -> None:
        key = make_key(server.directory, "ingest")
        assert server.ask("/api/v1/events", EVENT, key=key).status == 200
        revoke(server.directory, key)
        began = time.monotonic()
        while server.ask("/api/v1/events", EVENT, key=key).status == 200:
            assert time.monotonic() - began < 1.5
            time.sleep(0.05)
        assert server.ask("/api/v1/events", EVENT, key=key).status == 401

    def test_an_expired_key_is_refused_within_a_second(self, server: Serving) -> None:
        ends = datetime.now(UTC) + timedelta(seconds=1)
        key = make_key(server.directory, "read", expires_at=ends)
        assert server.ask("/api/v1/stats", key=key).status == 200
        while datetime.now(UTC) < ends + timedelta(seconds=1.2):
            time.sleep(0.05)
        assert server.ask("/api/v1/stats", key=key).status == 401

    def test_the_first_key_closes_an_open_server_within_a_second(self, tmp_path: Path) -> None:
        with Serving(tmp_path / "data") as running:
            assert running.ask("/api/v1/stats").status == 200
            key = make_key(running.directory, "read")
            assert running.until(lambda: running.ask("/api/v1/stats").status == 401, 2.0)
            assert running.ask("/api/v1/stats", key=key).status == 200
            revoke(running.directory, key)
            time.sleep(1.2)
            assert running.ask("/api/v1/stats").status == 401  # revoking the last one opens nothing


class TestPagesOfOtherSites:
    def test_without_a_key_it_answers_under_names_of_this_machine_only(self, open_server: Serving) -> None:
        port = open_server.url.rpartition(":")[2]
        for name in ("localhost", "127.0.0.1", "[::1]", "LOCALHOST"):
            for host in (name, f"{name}:{port}"):
                assert open_server.ask("/api/v1/stats", headers={"Host": host}).status == 200, host
        for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example", "",
                     "127.0.0.2@evil.example", "[::1].evil.example:80"):  # fmt: skip
            reply = open_server.ask("/api/v1/stats", headers={"Host": host})
            assert (reply.status, reply.json["type"]) == (403, "urn:barograph:problem:unknown-host"), host
            assert open_server.ask("/api/v1/events", EVENT, {"Host": host}).status == 403

    def test_with_a_key_the_name_does_not_matter(self, server: Serving, keys: dict[str, str]) -> None:
        assert server.ask("/api/v1/stats", headers={"Host": "anything.example"}, key=keys["read"]).status == 200

    def test_a_page_of_another_site_changes_nothing(self, open_server: Serving) -> None:
        before = open_server.ask("/api/v1/stats").json["received"]
        port = open_server.url.rpartition(":")[2]
        for origin in ("https://evil.example", "null", "http://localhost:1", f"https://evil.example:{port}", "x", ""):
            reply = open_server.ask("/api/v1/events", EVENT, {"Origin": origin, "Host": f"localhost:{port}"})
            assert reply.status == 403, origin
        assert open_server.ask("/api/v1/stats").json["received"] == before
        same = {"Origin": f"http://localhost:{port}", "Host": f"localhost:{port}"}
        assert open_server.ask("/api/v1/events", EVENT, same).status == 200

    def test_a_form_of_another_site_is_no_event(self, open_server: Serving) -> None:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            assert open_server.ask("/api/v1/events", EVENT, {"Content-Type": kind}).status == 415

    def test_cors_is_off_by_default(self, open_server: Serving) -> None:
        asked = {"Origin": SITE, "Access-Control-Request-Method": "GET"}
        for reply in (open_server.ask("/api/v1/stats", headers={"Origin": SITE}),
                      open_server.ask("/api/v1/stats", headers=asked, method="OPTIONS")):  # fmt: skip
            assert not [name for name in reply.headers if name.lower().startswith("access-control-")]

    def test_a_listed_origin_may_call_it_and_no_other(self, server: Serving, keys: dict[str, str]) -> None:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,if-none-match,barograph-expose",
        }
        allowed = server.ask("/api/v1/events", headers={"Origin": SITE, **asked}, method="OPTIONS")
        assert allowed.status == 200
        assert allowed.headers["access-control-allow-origin"] == SITE
        taken = server.ask("/api/v1/events", EVENT, {"Origin": SITE}, key=keys["ingest"])
        assert (taken.status, taken.headers["access-control-expose-headers"]) == (200, "ETag")
        refused = server.ask("/api/v1/events", headers={"Origin": "https://evil.example", **asked}, method="OPTIONS")
        assert "access-control-allow-origin" not in refused.headers
        reply = server.ask("/api/v1/events", EVENT, {"Origin": "https://evil.example"}, key=keys["ingest"])
        assert reply.status == 403

    def test_a_refusal_can_be_read_by_the_listed_origin(self, server: Serving) -> None:
        reply = server.ask("/api/v1/stats", headers={"Origin": SITE})
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (401, SITE)


class TestAddresses:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::"])
    def test_what_others_can_reach_needs_a_key_first(self, tmp_path: Path, host: str) -> None:
        command = [sys.executable, "-m", "barograph", "serve", "-d", str(tmp_path / "data"), "--host", host]
        done = forked.run([*command, "--port", "0"])
        assert done.returncode == 3
        assert "barograph key create" in done.stderr

    def test_with_a_key_it_listens_there_and_asks_everybody_for_one(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        key = make_key(tmp_path / "data", "read")
        with Serving(tmp_path / "data", "--host", "0.0.0.0") as running:
            assert running.url.startswith("http://127.0.0.1:")
            assert running.ask("/api/v1/stats").status == 401
            assert running.ask("/api/v1/stats", key=key).status == 200
