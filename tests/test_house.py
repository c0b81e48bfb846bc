"""The house keeps its own rules: floors, docstrings, sizes, pins, and documentation that says what the code does."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from msgspec import Struct
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import barograph
import barograph_client
from barograph.core import event
from barograph.core.metric import BUILT_IN, FAMILIES
from barograph.core.receiver_settings import ReceiverSettings
from barograph.core.settings import MetricSettings, RuleSettings, Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "barograph"
CLIENT = ROOT / "client" / "src" / "barograph_client"
MODULES = [*sorted(SOURCE.rglob("*.py")), *sorted(CLIENT.rglob("*.py"))]
MOST_LINES = 400
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


class TestFloors:
    def test_imports_go_down_the_floors_only(self) -> None:
        code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
        checked = run(sys.executable, "-c", code)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "0 broken" in checked.stdout

    def test_import_barograph_loads_no_engine_no_numbers_no_tables(self) -> None:
        code = "import sys, barograph; print(*sys.modules)"
        loaded = set(run(sys.executable, "-c", code).stdout.split())
        assert "barograph" in loaded
        heavy = {"numpy", "scipy", "pandas", "pyarrow", "chdb", "clickhouse_connect", "sqlalchemy", "rich", "typer"}
        assert not heavy & loaded

    def test_the_package_offers_the_seven_components_the_client_and_no_more(self) -> None:
        assert set(barograph.__all__) == set(dir(barograph))
        assert len(set(barograph.__all__) - {"__version__", "errors", "Client"}) == 7
        assert all(getattr(barograph, name) for name in barograph.__all__)
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            barograph.__getattr__("nothing")


class TestFiles:
    @pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
    def test_every_module_says_what_lives_in_it_and_is_short_enough(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)), "no docstring"
        assert len(text.splitlines()) <= MOST_LINES

    def test_a_folder_s_init_is_one_line(self) -> None:
        for path in MODULES:
            if path.name == "__init__.py" and path.parent not in (SOURCE, CLIENT):
                assert len(path.read_text(encoding="utf-8").splitlines()) == 1, path

    def test_nothing_names_a_path_of_the_machine_it_was_written_on(self) -> None:
        private = re.compile("/(?:" + "|".join(("work", "root", "home", "tmp")) + ")/[a-z.]")
        folders = [ROOT / name for name in ("src", "client", "tests", "docs", "bench", "tools")]
        texts = [
            path for folder in folders for path in folder.rglob("*") if path.suffix in {".py", ".md", ".sql", ".toml"}
        ]
        found = [
            f"{path.relative_to(ROOT)}:{number}"
            for path in [*texts, *ROOT.glob("*.md"), ROOT / "Makefile"]
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if private.search(line)
        ]
        assert found == []


class TestVersions:
    def test_the_version_is_the_same_everywhere(self) -> None:
        assert barograph.__version__ == PROJECT["project"]["version"]
        assert barograph.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    def test_every_dependency_is_pinned_to_a_version_that_the_package_allows(self) -> None:
        lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
        asked = [
            *PROJECT["project"]["dependencies"],
            *PROJECT["project"]["optional-dependencies"]["dev"],
            *PROJECT["build-system"]["requires"],
        ]
        for text in asked:
            requirement = Requirement(text)
            if requirement.name == "barograph-client":  # of this tree, not of a registry
                assert requirement.specifier.contains(barograph_client.__version__)
                continue
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text

    def test_every_dependency_says_what_it_is_good_for(self) -> None:
        said = page("decisions.md")
        for text in [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]]:
            assert f"`{Requirement(text).name}`" in said, text


class TestMakefile:
    def test_make_lists_what_can_be_made(self) -> None:
        shown = run("make", "--no-print-directory").stdout
        targets = "help demo test lint bench bench-nab bench-peers validity docs clean"
        for target in targets.split():
            assert re.search(rf"^  make {target} +\S", shown, re.MULTILINE), target

    def test_an_old_python_is_refused_with_a_hint(self, tmp_path: Path) -> None:
        old = tmp_path / "python2"
        old.write_text("#!/bin/sh\nexit 1\n")
        old.chmod(0o755)
        made = run("make", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}", "demo")
        assert made.returncode != 0
        assert "needs Python 3.11 or newer" in made.stderr
        assert "make PYTHON=" in made.stderr
        assert not (tmp_path / "venv").exists()


class TestDocs:
    def test_pages_made_from_the_code_are_up_to_date(self) -> None:
        checked = run(sys.executable, ROOT / "tools" / "generate_docs.py", "--check")
        assert checked.returncode == 0, checked.stderr

    def test_every_setting_is_documented(self) -> None:
        text = page("settings.md")
        for struct in (Settings, RuleSettings, MetricSettings, ReceiverSettings, *groups()):
            for name in struct.__struct_encode_fields__:
                assert f"| `{name}` |" in text or f"[{name}]" in text, name

    def test_the_whole_example_of_settings_is_the_defaults(self, tmp_path: Path) -> None:
        (found,) = re.findall(r"```toml\n(.*?)```", page("settings.md"), re.DOTALL)
        (tmp_path / "barograph.toml").write_text(found, encoding="utf-8")
        loaded = load_settings(tmp_path, {})
        assert len(loaded.rules) == len(loaded.metrics) == len(loaded.receivers) == 1
        assert loaded.routing.route.routes[0].receiver == loaded.receivers[0].name
        for name in Settings.__struct_fields__:
            if name not in ("rules", "metrics", "receivers", "routing"):
                assert getattr(loaded, name) == getattr(Settings(), name)

    def test_every_kind_and_field_of_events_is_documented(self) -> None:
        text = page("events.md")
        for kind, struct in {**event.KINDS, "document": event.Document}.items():
            section = text.split(f"\n## {kind}\n", 1)[1].split("\n## ", 1)[0]
            common = text.split("\n## Every kind\n", 1)[1].split("\n## ", 1)[0]
            for name in struct.__struct_fields__:
                assert f"| `{name}`" in section + common, f"{kind}.{name}"

    def test_every_metric_is_documented(self) -> None:
        text = page("metrics.md")
        for metric in BUILT_IN:
            assert f"| `{metric.name}` |" in text
            assert metric.sentence in text
        assert all(f"| `{family}.<name>` |" in text for family in FAMILIES)

    def test_every_floor_of_the_package_has_its_line_in_the_architecture(self) -> None:
        text = page("architecture.md")
        folders = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
        assert {folder for folder in folders if f"`{folder}/`" not in text} == set()

    def test_links_between_pages_lead_somewhere(self) -> None:
        for source in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", source.read_text(encoding="utf-8")):
                assert (source.parent / target).exists(), f"{source.name} -> {target}"


def groups() -> list[type[Struct]]:
    """The structs behind [journal], [engine] and so on."""
    return [
        type(value)
        for value in map(Settings().__getattribute__, Settings.__struct_fields__)
        if isinstance(value, Struct)
    ]
