"""``barograph demo``: real arrivals, token counts, questions and ratings, played as if over the last seven days."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barograph.cli.options import Charset, Json, Width, opened, visualizer_for
from barograph.cli.output import note, print_json, progress, say
from barograph.cli.screen import Screen
from barograph.core.unit import counted
from barograph.journal.disk import journal_error
from barograph.journal.lock import DirectoryLock
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidInput

if TYPE_CHECKING:
    from barograph.dashboard.dashboard_interface import DashboardInterface
    from barograph.demo.replay import Replay

DEMO_DIRECTORY = "barograph-demo"
REDRAW_SECONDS = 5.0


def demo(
    live: Annotated[bool, typer.Option("--live", help="Go on at the trace's real speed until Ctrl-C.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Delete the demo's data directory.")] = False,
    charset: Charset = None,
    width: Width = None,
    data_dir: Annotated[
        Path,
        typer.Option("--data-dir", "-d", envvar="BAROGRAPH_DATA_DIR", help="A directory of its own.", file_okay=False),
    ] = Path(DEMO_DIRECTORY),
    json: Json = False,
) -> None:
    """Play a real week-long replay into a directory of its own and show the overview.

    Arrivals and token counts are those of the Azure LLM inference trace of 2023; questions, passages and ratings are
    FeedbackQA's. Stage times are modelled from the token counts and marked as such. docs/demo.md has the details.
    """
    from barograph.dashboard.assembly import make_directory
    from barograph.demo.play import mark, play, prepare

    gone = _remove(data_dir)
    if remove:
        says = f"{data_dir} is removed." if gone else f"There is no demo at {data_dir}."
        print_json({"removed": str(data_dir) if gone else None}) if json else say(says)
        return
    began = time.monotonic()
    make_directory(data_dir)
    mark(data_dir)
    with opened(data_dir, charset=charset, width=width) as dashboard:
        end = SystemClock().now()
        replay = prepare(dashboard, end)
        with progress(len(replay), "playing the replay") as bar:
            played = play(dashboard, replay, end, lambda n: bar.advance(bar.task_ids[0], n))
        dashboard.flush()
        dashboard.check_alerts()
        account = dashboard.account()
        if json:
            print_json({"data_dir": str(data_dir), "account": account, "events": played})
        else:
            print(dashboard.render("overview"))
            note(f"{counted(played, 'event')} in {time.monotonic() - began:.1f} s. They are in {data_dir}: try")
            note(f"  barograph show queries --data-dir {data_dir}")
        if live:
            _go_on(dashboard, replay, charset, width)


def _remove(directory: Path) -> bool:
    """Delete a demo's directory; false if there is none. Raises InvalidInput, DirectoryLocked or JournalError."""
    from barograph.demo.play import is_demo

    try:
        if not directory.exists() or not any(directory.iterdir()):
            return False
        if not is_demo(directory):
            raise InvalidInput(
                f"{directory} holds something that is not the demo",
                hint="The demo replaces what it plays into; give it a directory of its own with --data-dir.",
            )
        lock = DirectoryLock(directory)  # nobody writes to it from here on
        try:
            shutil.rmtree(directory)
        finally:
            lock.release(clean=False)
    except OSError as error:
        raise journal_error(error, f"removing {directory}") from error
    return True


def _go_on(dashboard: DashboardInterface, replay: Replay, charset: str | None, width: int | None) -> None:
    """Play on in a thread and draw the overview again and again, until Ctrl-C."""
    from barograph.demo.play import play_live

    stop = threading.Event()
    player = threading.Thread(
        target=play_live, args=(dashboard, replay, SystemClock(), stop), name="barograph-demo", daemon=True
    )
    player.start()
    rest = f"barograph show --data-dir {dashboard.parts.directory} shows all. Ctrl-C ends."
    try:
        with Screen(sys.stdout, os.environ) as screen:
            while player.is_alive():
                dashboard.flush()
                dashboard.check_alerts()
                dashboard.draw_with(visualizer_for(dashboard.settings, charset, width))  # it may have been resized
                screen.show(dashboard.render("overview"), rest)
                stop.wait(REDRAW_SECONDS)
    finally:
        stop.set()
        player.join()
