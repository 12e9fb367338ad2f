"""The npm packages of the tests: installed from the lock once, and again when the lock changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops import node_packages

NPM = """#!/bin/sh
echo "$PWD $*" >>"$RECORD"
[ -z "$FAILS" ] || exit 7
mkdir -p node_modules
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with one lock, and a program `npm` that records how it is run."""
    folder = tmp_path / "tests/some"
    folder.mkdir(parents=True)
    (folder / "package-lock.json").write_text("{}")
    npm = tmp_path / "bin/npm"
    npm.parent.mkdir()
    npm.write_text(NPM)
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent), prepend=":")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    monkeypatch.setattr(node_packages, "folders", lambda: [folder])
    return folder


def runs(folder: Path) -> list[str]:
    return (folder.parent.parent / "record").read_text().splitlines()


def test_packages_are_installed_once_and_run_no_script(folder: Path) -> None:
    assert node_packages.main() == 0
    assert node_packages.main() == 0
    (run,) = runs(folder)
    assert run.startswith(f"{folder} ci --ignore-scripts")
    (folder / "package-lock.json").write_text("{ }")
    assert node_packages.main() == 0
    assert len(runs(folder)) == 2


def test_failed_installation_is_reported_and_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILS", "1")
    assert node_packages.main() == 7
    monkeypatch.delenv("FAILS")
    assert node_packages.main() == 0
    assert node_packages.is_current(folder)


def test_locks_name_no_registry() -> None:
    for folder in node_packages.folders():
        lock = (folder / node_packages.LOCK).read_text()
        assert '"integrity"' in lock
        assert '"resolved"' not in lock
