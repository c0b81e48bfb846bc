"""Real processes: killed, forked, ended by a signal. What was spooled is sent by the next life, and nothing twice."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from client_support import WAIT, Open, balanced, files, start
from scripted_server import Move, ScriptedServer, until
from tests.support.soak import times

RECORDER = """
    import sys, threading
    from barograph_client import Client
    from barograph_client.backoff import Pace
    url, spool, count, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    client = Client(url, spool=False if spool == "off" else spool, environment={}, batch=50, timeout=3.0,
                    pace=Pace(first=0.02, longest=0.1, slow=0.2, adopt=0.1))
    for _ in range(count):
        ids = client.record_many([{"query": "Why?", "user_id": "u"}] * size)
        if client.flush(30):
            print(*ids, flush=True)
"""


def told(process: subprocess.Popen[str]) -> list[str]:
    """The ids of which the process said that they are safe; a line that a kill cut short says nothing."""
    assert process.stdout is not None
    lines = process.stdout.read().splitlines(keepends=True)
    return [event_id for line in lines if line.endswith("\n") for event_id in line.split()]


class TestKilled:
    def test_what_was_spooled_is_sent_by_the_next_life(
        self, open_client: Open, server: ScriptedServer, tmp_path: Path
    ) -> None:
        server.stop()
        spool = tmp_path / "spool"
        process = start(RECORDER, server.url, spool, 1000, 3)
        until(lambda: len(files(spool)) > 10)
        process.kill()
        ids = told(process)
        process.wait()
        process.communicate()
        assert len(ids) >= 30
        server.start()
        client = open_client()  # it records nothing itself
        until(lambda: set(ids) <= set(server.ids))
        assert server.ids[: len(ids)] == ids
        until(lambda: not files(spool))
        assert server.doubles == 0
        until(lambda: client.counts.adopted == client.counts.stored >= len(ids))
        assert balanced(client.counts)

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(times(1, 8)))
    def test_no_kill_at_any_moment_loses_or_doubles_what_was_safe(
        self, open_client: Open, server: ScriptedServer, tmp_path: Path, seed: int
    ) -> None:
        dice = random.Random(seed)
        safe: list[str] = []
        for _ in range(8):
            process = start(RECORDER, server.url, tmp_path / "spool", 100_000, dice.choice((1, 20, 120)))
            end = time.monotonic() + 0.3 + dice.random()
            while time.monotonic() < end:
                time.sleep(dice.random() * 0.1)
                server.script.extend(
                    dice.choice(
                        (
                            [Move(status=503)] * 3,
                            [Move(take=True, hang_up=True), Move(take=True, status=500)],
                            [Move(hang_up=True, read=False)],
                            [Move(status=400, divide=True), Move(take=True), Move(take=True, hang_up=True)],
                            [Move(take=True, delay=0.05)] * 5,
                        )
                    )
                )
                if dice.random() < 0.3:
                    server.stop()
                    time.sleep(dice.random() * 0.2)
                    server.start()
            process.kill()
            safe.extend(told(process))
            process.wait()
            process.communicate()
        server.script.clear()
        open_client()
        until(lambda: not files(tmp_path / "spool"))
        assert len(safe) > 20
        until(lambda: set(safe) <= set(server.ids))
        assert server.doubles == 0


class TestEnding:
    def test_the_end_of_the_program_flushes(self, server: ScriptedServer, tmp_path: Path) -> None:
        program = """
            import sys, barograph_client
            client = barograph_client.Client(sys.argv[1], spool=sys.argv[2], environment={})
            client.record_many([{"query": "x"}] * 3000)
        """
        process = start(program, server.url, tmp_path / "spool")
        assert process.communicate(timeout=WAIT)[1] == ""
        assert len(server.events) == 3000

    @pytest.mark.parametrize("spool", ["on", "off"])
    def test_a_silent_server_does_not_keep_the_program_from_ending(
        self, open_client: Open, server: ScriptedServer, tmp_path: Path, spool: str
    ) -> None:
        server.always = Move(delay=60.0)
        program = """
            import sys, barograph_client
            spool = sys.argv[2] if sys.argv[3] == "on" else False
            client = barograph_client.Client(sys.argv[1], spool=spool, environment={}, timeout=60.0, batch=100)
            client.record_many([{"query": "x"}] * 1000)
        """
        began = time.monotonic()
        process = start(program, server.url, tmp_path / "spool", spool)
        process.wait(WAIT)
        process.communicate()
        assert time.monotonic() - began < 10
        server.always = None
        if spool == "on":
            open_client()
            until(lambda: len(server.events) == 1000)
            assert server.doubles == 0

    def test_sigterm_flushes_and_still_ends_the_program(self, server: ScriptedServer, tmp_path: Path) -> None:
        program = """
            import sys, time, barograph_client
            client = barograph_client.Client(sys.argv[1], spool=sys.argv[2], environment={})
            client.record_many([{"query": "x"}] * 500)
            print("ready", flush=True)
            time.sleep(60)
        """
        process = start(program, server.url, tmp_path / "spool")
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        assert process.wait(WAIT) == -signal.SIGTERM
        process.communicate()
        assert len(server.events) == 500


PREFORK = """
    import json, os, signal, sys, time
    from barograph_client import Client
    client = Client(sys.argv[1], spool=sys.argv[2], environment={})
    client.record_many([{"query": "parent", "n": n} for n in range(300)])  # still in the queue when the children come
    pids = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            for n in range(200):
                client.record_query_execution({"query": f"child {child}"})
            client.flush(30)
            counts = client.counts
            if (counts.recorded, counts.stored) != (200, 200):
                sys.exit(f"{counts} {client.problem}")
            sys.exit(0)
        pids.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    client.flush(30)
    print(json.dumps([codes, client.counts.stored]))
"""


class TestForked:
    def test_children_of_a_program_that_was_loaded_before_the_fork_have_clients_of_their_own(
        self, server: ScriptedServer, tmp_path: Path
    ) -> None:
        process = start(PREFORK, server.url, tmp_path / "spool")
        out, err = process.communicate(timeout=WAIT)
        assert json.loads(out) == [[0, 0, 0, 0], 300], err
        queries = [event["query"] for event in server.events.values()]
        assert queries.count("parent") == 300
        assert all(queries.count(f"child {child}") == 200 for child in range(4))
        assert server.doubles == 0
        clients = {request.batch[0] for request in server.requests}
        assert len(clients) == 5
        for client in clients:
            numbers = [request.batch[1] for request in server.requests if request.batch[0] == client]
            assert numbers == list(range(1, len(numbers) + 1))

    def test_children_spool_on_their_own_and_a_sibling_sends_what_a_dead_one_left(
        self, open_client: Open, server: ScriptedServer, tmp_path: Path
    ) -> None:
        server.stop()
        program = PREFORK.replace("counts = client.counts", "os._exit(0)")
        process = start(program, server.url, tmp_path / "spool")
        out, err = process.communicate(timeout=WAIT)
        assert json.loads(out) == [[0, 0, 0, 0], 0], err
        server.start()
        client = open_client()
        until(lambda: len(server.events) == 1100)
        assert server.doubles == 0
        until(lambda: client.counts.stored == client.counts.adopted == 1100)

    def test_workers_that_share_a_spool_send_each_batch_once(self, server: ScriptedServer, tmp_path: Path) -> None:
        server.stop()
        for _ in range(3):
            dead = start(RECORDER, server.url, tmp_path / "spool", 5, 20)
            assert len(told(dead)) == 100
            dead.wait()
            dead.communicate()
        server.start()
        program = RECORDER + "    sys.stdin.read()\n"
        workers = [start(program, server.url, tmp_path / "spool", 40, 20) for _ in range(3)]
        until(lambda: len(server.events) == 300 + 2400)
        until(lambda: not files(tmp_path / "spool"))
        for worker in workers:
            worker.communicate("", timeout=WAIT)
        batches = [request.batch for request in server.requests]
        assert len(batches) == len(set(batches))
        assert server.doubles == 0


MULTIPROCESSING = """
import multiprocessing, sys, time
from barograph_client import Client

def client_of():
    return Client(sys.argv[1], spool=sys.argv[2], environment={}, timeout=60.0, batch=100)

shared = client_of() if sys.argv[4] == "shared" else None
if __name__ != "__main__" and shared is not None:
    shared.record_many([{"query": "imported"}] * 50)

def work():
    client = shared or client_of()
    client.record_many([{"query": "child"}] * 1000)
    if sys.argv[4] == "closed":
        client.close()

if __name__ == "__main__":
    child = multiprocessing.get_context(sys.argv[3]).Process(target=work)
    child.start()
    child.join()
    print(child.exitcode)
"""


def run_multiprocessing(tmp_path: Path, server: ScriptedServer, method: str, made: str) -> None:
    (tmp_path / "program.py").write_text(MULTIPROCESSING)
    command = [sys.executable, str(tmp_path / "program.py"), server.url, str(tmp_path / "spool"), method, made]
    process = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)
    assert process.stdout == "0\n", process.stderr


class TestMultiprocessing:
    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    @pytest.mark.parametrize("made", ["shared", "own", "closed"])
    def test_a_child_that_records_and_returns_loses_nothing(
        self, server: ScriptedServer, tmp_path: Path, method: str, made: str
    ) -> None:
        run_multiprocessing(tmp_path, server, method, made)
        queries = [event["query"] for event in server.events.values()]
        assert queries.count("child") == 1000
        assert queries.count("imported") == (50 if made == "shared" and method != "fork" else 0)
        assert server.doubles == 0

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_a_silent_server_holds_a_child_up_no_longer_than_the_end_of_a_program(
        self, open_client: Open, server: ScriptedServer, tmp_path: Path, method: str
    ) -> None:
        server.always = Move(delay=60.0)
        began = time.monotonic()
        run_multiprocessing(tmp_path, server, method, "own")
        assert time.monotonic() - began < 10
        server.always = None
        open_client()
        until(lambda: len(server.events) == 1000)
        assert server.doubles == 0

    def test_multiprocessing_is_not_imported_for_it(self, server: ScriptedServer) -> None:
        program = """
            import sys
            from barograph_client import Client
            with Client(sys.argv[1], environment={}, spool=False) as client:
                client.record("x", 1)
            print("multiprocessing" in sys.modules)
        """
        assert start(program, server.url).communicate(timeout=WAIT)[0] == "False\n"


APPLICATION = """
import os
from barograph_client import Client
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

client = Client()

async def ask(request):
    with client.query(query="Why?", pid=os.getpid()):
        return PlainTextResponse("because")

app = Starlette(routes=[Route("/", ask)])
"""


@pytest.mark.slow
def test_uvicorn_with_four_workers_loses_nothing_when_it_is_stopped(server: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(APPLICATION)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "BAROGRAPH_URL": server.url, "BAROGRAPH_SPOOL": str(tmp_path / "spool")}
    command = ["uvicorn", "application:app", "--workers", "4", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=tmp_path, env=environment)
    asked = 0

    def ask() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return b"because" in b"".join(iter(lambda: connection.recv(4096), b""))
        except OSError:
            return False

    until(ask)
    asked = 1 + sum(ask() for _ in range(300))
    process.send_signal(signal.SIGTERM)
    process.wait(WAIT)
    assert asked == 301
    assert len(server.events) == 301
    assert len({event["pid"] for event in server.events.values()}) > 1


class TestLightness:
    def test_importing_the_client_is_quick(self) -> None:
        code = (
            "import time; began = time.process_time(); from barograph_client import Client; "
            "print(time.process_time() - began)"
        )  # the time of the process itself: what else the machine does is not the client's
        runs = (float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(30))
        assert any(seconds < 0.060 for seconds in runs)

    def test_the_client_loads_the_standard_library_and_msgspec_only(self, server: ScriptedServer) -> None:
        code = """
            import sys
            before = set(sys.modules)
            from barograph_client import Client
            with Client(sys.argv[1], environment={}, spool=False) as client:
                client.record("x", 1)
                assert client.flush(30)
            print(*{name.partition(".")[0] for name in set(sys.modules) - before})
        """
        out, err = start(code, server.url).communicate(timeout=WAIT)
        foreign = set(out.split()) - set(sys.stdlib_module_names) - {"barograph_client", "msgspec"}
        assert foreign <= {"typing_extensions"}, err  # which msgspec looks for, and does without
        assert "msgspec" in out
        assert len(server.events) == 1

    def test_all_of_it_with_msgspec_is_smaller_than_a_megabyte(self) -> None:
        import msgspec

        import barograph_client

        size = sum(
            path.stat().st_size
            for package in (barograph_client, msgspec)
            for path in Path(package.__file__ or "").parent.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )
        assert size < 1_000_000
