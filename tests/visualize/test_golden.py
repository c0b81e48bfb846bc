"""Every chart looks as it did when a person last looked at it, in each charset at 40, 80 and 120 cells.

After a wanted change: ``python tests/visualize/test_golden.py`` writes the files again; look at the difference.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from wcwidth import wcswidth

sys.path.insert(0, str(Path(__file__).parent))
from samples import CHARTS, drawn

from barograph.visualize.charset import CHARSETS, CharsetName
from barograph.visualize.exports import to_csv, to_json

GOLDEN = Path(__file__).parent / "golden"
WIDTHS = (40, 80, 120)


def golden_files() -> dict[str, str]:
    """What each file should hold now."""
    files = {f"{charset}-{width}.txt": drawn(charset, width) for charset in CHARSETS for width in WIDTHS}
    files["colour-80.txt"] = drawn("braille", 80, colour=True).replace("\x1b", "␛")
    files["page.csv"] = to_csv(CHARTS["page"], "Europe/Berlin")
    files["page.json"] = to_json(CHARTS["page"]) + "\n"
    return files


@pytest.mark.parametrize("name", [f"{charset}-{width}.txt" for charset in CHARSETS for width in WIDTHS]
                         + ["colour-80.txt", "page.csv", "page.json"])  # fmt: skip
def test_charts_look_as_they_did(name: str) -> None:
    assert golden_files()[name] == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("width", [20, 33, 40, 80, 120, 200])
def test_sample_charts_stay_within_the_width(charset: CharsetName, width: int) -> None:
    for line in drawn(charset, width).splitlines():
        assert 0 <= wcswidth(line) <= width or line.startswith("["), line


if __name__ == "__main__":
    for file, text in golden_files().items():
        (GOLDEN / file).write_text(text, encoding="utf-8")
