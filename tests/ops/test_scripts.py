"""The scripts of ops/: help, refused options, repeated set-up, missing packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ["setup", "setup-torch", "test", "check", "lock", "golden"]


def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the scripts and of what they read."""
    for name in ("ops", "requirements", "appliance"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "image-manifest.lock", tmp_path)
    return tmp_path


def fake_python(folder: Path, version: str) -> Path:
    """A script that acts as Python `version`; it creates environments whose pip fails."""
    folder.mkdir(exist_ok=True)
    program = folder / "fake-python"
    major, minor = version.split(".")
    program.write_text(
        f"""#!/usr/bin/env bash
case "$*" in
  *version_info*) (( {major} == 3 && {minor} >= 11 && {minor} < 13 )) ;;
  *ensurepip*) true ;;
  -V) echo "Python {version}" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip "*) echo "ERROR: no route to the registry"; exit 1 ;;
  *) echo "ran: $*" ;;
esac
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_header_of_the_script(script: str) -> None:
    shown = run(ROOT / "ops" / script, "--help")
    assert shown.returncode == 0
    assert f"Usage: ops/{script}" in shown.stdout
    assert "#!" not in shown.stdout


@pytest.mark.parametrize("script", ["setup", "setup-torch", "check", "lock"])
def test_unknown_option_is_refused_and_help_is_named(script: str) -> None:
    refused = run(ROOT / "ops" / script, "--frobnicate")
    assert refused.returncode == 1
    assert "--frobnicate" in refused.stderr
    assert f"ops/{script} --help" in refused.stderr


def test_make_without_target_lists_every_target() -> None:
    listed = run("make").stdout
    for target in (
        "setup", "demo", "run", "talk", "test", "check", "bench", "bench-engine", "golden", "image",
        "export", "preflight", "weights", "lock", "verify",
    ):  # fmt: skip
        assert f"make {target} " in listed


def test_old_python_is_refused_with_advice(copy: Path) -> None:
    old = fake_python(copy / "bin", "3.9")
    refused = run(copy / "ops/setup", PYTHON=str(old))
    assert refused.returncode == 1
    assert "Python 3.11 or 3.12 is needed" in refused.stderr
    assert not (copy / ".venv").exists()


def test_setup_without_a_network_fails_with_the_reason_of_pip_and_leaves_no_stamp(
    copy: Path,
) -> None:
    python = fake_python(copy / "bin", "3.11")
    failed = run(copy / "ops/setup", PYTHON=str(python), PATH=_without_apt(copy))
    assert failed.returncode == 1
    assert "no route to the registry" in failed.stderr
    assert not list((copy / ".venv").glob(".installed-*"))


def test_failed_packages_of_the_tests_fail_the_setup_with_the_reason(copy: Path) -> None:
    """They are installed in the background, while the models are downloaded."""
    python = fake_python(copy / "bin", "3.11")
    failing = python.read_text().replace('"-m pip "*)', '"-m pip "*dev.txt*)')
    python.write_text(failing.replace("  *) echo", '  "-m pip "*) ;;\n  *) echo'))
    failed = run(copy / "ops/setup", "--tests", PYTHON=str(python), PATH=_without_apt(copy))
    assert failed.returncode == 1
    assert "ran: -m ops.bundle fetch" in failed.stdout
    assert "no route to the registry" in failed.stdout
    assert "Set up in" not in failed.stdout
    assert list((copy / ".venv").glob(".installed-*")) == [copy / ".venv/.installed-run"]


def test_second_setup_installs_nothing_until_a_lock_changes(copy: Path) -> None:
    python = fake_python(copy / "bin", "3.11")
    python.write_text(python.read_text().replace("exit 1", "exit 0"), encoding="utf-8")
    environ = {"PYTHON": str(python), "PATH": _without_apt(copy)}
    first = run(copy / "ops/setup", **environ)
    assert "ran: -m ops.bundle fetch" in first.stdout, first.stderr
    second = run(copy / "ops/setup", **environ)
    assert "python packages: up to date" in second.stdout
    with (copy / "requirements/cpu.txt").open("a", encoding="utf-8") as lock:
        lock.write("# changed\n")
    assert "up to date" not in run(copy / "ops/setup", **environ).stdout


def test_missing_system_library_is_reported_with_its_command_and_setup_continues(
    copy: Path,
) -> None:
    python = fake_python(copy / "bin", "3.11")
    python.write_text(python.read_text().replace("exit 1", "exit 0"), encoding="utf-8")
    path = _without_apt(copy)
    (copy / "tools/espeak-ng").unlink(missing_ok=True)
    done = run(copy / "ops/setup", PYTHON=str(python), PATH=path)
    assert done.returncode == 0
    assert "apt-get install espeak-ng" in done.stderr
    assert "Set up in" in done.stdout


def _without_apt(copy: Path) -> str:
    """Return a PATH without apt-get, so that no test installs anything on this machine."""
    tools = copy / "tools"
    tools.mkdir()
    names = (
        "bash cat cp cut date dirname env espeak-ng flock grep id ldconfig mkdir printf rm sed"
        " sha256sum tail tee"
    )
    for name in names.split():
        program = shutil.which(name, path=os.environ["PATH"] + ":/sbin:/usr/sbin")
        if program:
            (tools / name).symlink_to(program)
    return str(tools)
