"""The charset follows the terminal: real pipes, files and pseudo-terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from wcwidth import wcswidth

from barograph.visualize.charset import CHARSETS, CharsetName, Terminal, choose, test_pattern
from barograph.visualize.visualizer import Visualizer
from barograph_client.errors import InvalidSettings

UTF8 = {"LANG": "en_US.UTF-8", "TERM": "xterm-256color"}
make_pattern = test_pattern
del test_pattern  # its name begins like a test's


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    """A pseudo-terminal of 97 cells, opened as UTF-8."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 97, 0, 0))
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        yield stream
    os.close(master)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "out").open("w", encoding="utf-8") as stream:
        yield stream


def test_a_capable_terminal_gets_braille_colour_and_its_own_width(terminal: TextIO) -> None:
    assert choose(terminal, UTF8) == Terminal(charset="braille", width=97, colour=True)


@pytest.mark.parametrize(
    ("environment", "charset"),
    [
        ({"TERM": "linux"}, "unicode"), ({"TERM": "vt220"}, "unicode"), ({"TERM": "dumb"}, "ascii"),
        ({"LANG": "C"}, "ascii"), ({"LC_ALL": "POSIX"}, "ascii"), ({"LC_ALL": "de_DE.utf8", "LANG": "C"}, "braille"),
        ({"LANG": ""}, "braille"), ({"BAROGRAPH_CHARSET": "ascii"}, "ascii"),
        ({"LANG": "C", "PYTHONUTF8": "1"}, "braille"),
    ],
)  # fmt: skip
def test_the_environment_lowers_the_charset(
    terminal: TextIO, environment: dict[str, str], charset: CharsetName
) -> None:
    assert choose(terminal, UTF8 | environment).charset == charset


def test_an_argument_wins_over_the_variable_and_the_variable_over_the_terminal(file: TextIO) -> None:
    told = UTF8 | {"BAROGRAPH_CHARSET": "braille"}
    assert choose(file, told).charset == "braille"
    assert choose(file, told, charset="ascii").charset == "ascii"
    with pytest.raises(InvalidSettings, match="ascii, unicode or braille"):
        choose(file, {"BAROGRAPH_CHARSET": "ebcdic"})


def test_a_file_gets_no_colour_and_no_braille(file: TextIO) -> None:
    assert choose(file, UTF8) == Terminal(charset="unicode", width=80, colour=False)


def test_a_stream_that_is_not_utf8_gets_ascii(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="latin-1") as stream:
        assert choose(stream, UTF8).charset == "ascii"


def test_colour_can_be_forbidden_and_forced(terminal: TextIO, file: TextIO) -> None:
    assert not choose(terminal, UTF8 | {"NO_COLOR": "1"}).colour
    assert not choose(terminal, UTF8 | {"NO_COLOR": "1", "FORCE_COLOR": "1"}).colour
    assert not choose(terminal, UTF8 | {"FORCE_COLOR": "0"}).colour
    assert not choose(terminal, UTF8 | {"TERM": "dumb"}).colour
    assert choose(file, UTF8 | {"FORCE_COLOR": "1"}).colour
    assert choose(terminal, UTF8 | {"NO_COLOR": ""}).colour


@pytest.mark.parametrize(("columns", "width"), [("132", 132), ("5", 20), ("99999", 400), ("wide", 80), ("-3", 80)])
def test_columns_sets_the_width_within_reason(file: TextIO, columns: str, width: int) -> None:
    assert choose(file, {"COLUMNS": columns}).width == width


@pytest.mark.parametrize("charset", CHARSETS)
def test_the_test_pattern_is_straight_and_shows_each_charset(charset: CharsetName) -> None:
    lines = make_pattern(charset).split("\n")
    assert {wcswidth(line) for line in lines} == {40}
    assert ("⣿" in "".join(lines)) == (charset == "braille")
    if charset == "ascii":
        assert make_pattern(charset).isascii()


def test_a_visualizer_refuses_what_it_cannot_be() -> None:
    with pytest.raises(InvalidSettings, match="20 cells at least"):
        Visualizer(width=10)
    with pytest.raises(InvalidSettings, match="ascii, unicode or braille"):
        Visualizer("morse")
    with pytest.raises(InvalidSettings, match="Europe/Berlin"):
        Visualizer(timezone="Mars/Olympus")


def test_for_stream_takes_what_the_stream_can_show(terminal: TextIO) -> None:
    visualizer = Visualizer.for_stream(terminal, UTF8, timezone="Europe/Berlin")
    assert (visualizer.charset, visualizer.width, visualizer.colour) == ("braille", 97, True)
    assert visualizer.timezone == "Europe/Berlin"


def test_drawing_loads_no_numpy_and_no_engine() -> None:
    heavy = {"numpy", "scipy", "chdb", "rich", "barograph.core.metric", "barograph.core.query"}
    code = f"import sys, barograph.visualize.visualizer; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
