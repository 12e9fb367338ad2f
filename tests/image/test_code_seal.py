"""The real image does not start if a file of our code, of a package or of the system differs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from appliance.errors import SealBroken
from tests.image.sealed import Built, flags

SITE = "/opt/voice/venv/lib/python3.11/site-packages"


def boot(built: Built, *mounts: str) -> subprocess.CompletedProcess[str]:
    """Start the image with files mounted over its own, and without a token."""
    options = [f"--volume={mount}:ro" for mount in mounts]
    command = ("podman", "run", "--rm", "--pull=never", "--network=none", *flags(), *options)
    return built.host.run_within(120, *command, built.tag)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Check that a start was refused in the catalogue's words; return what was wrong."""
    assert done.returncode == SealBroken.exit_code, done.stdout + done.stderr
    (line,) = done.stdout.splitlines()
    event = json.loads(line)
    assert (event["reason"], event["advice"]) == (SealBroken.reason, SealBroken.advice)
    return str(event["what"])


@pytest.mark.parametrize(
    "path",
    [
        "/opt/voice/appliance/errors.py",
        f"{SITE}/packaging/version.py",
        f"{SITE}/voice.pth",
        "/usr/lib/python3.11/json/decoder.py",
        "/usr/bin/espeak-ng",
    ],
)
def test_changed_file_prevents_the_start(built: Built, tmp_path: Path, path: str) -> None:
    changed = tmp_path / "changed"
    changed.write_text("import os\n")
    what = refusal(boot(built, f"{changed}:{path}"))
    assert what.startswith(f"The seal is broken: {path} has 10 bytes instead of ")


def test_changed_byte_prevents_the_start(built: Built, tmp_path: Path) -> None:
    path = "/opt/voice/appliance/errors.py"
    shown = built.host.run("podman", "run", "--rm", "--entrypoint=cat", *flags(), built.tag, path)
    changed = tmp_path / "errors.py"
    changed.write_text(shown.stdout.replace("exit_code = 79", "exit_code = 78"))
    what = refusal(boot(built, f"{changed}:{path}"))
    assert what == f"The seal is broken: {path} was changed: its sha256 does not match the list."


@pytest.mark.parametrize("name", ["evil.pth", "sitecustomize.py"])
def test_unlisted_file_prevents_the_start_and_is_not_run(
    built: Built, tmp_path: Path, name: str
) -> None:
    extra = tmp_path / name
    extra.write_text("import sys; sys.stderr.write('IT RAN')\n")
    # podman creates the mount's target in the container's own layer.
    command = [str(part) for part in ("podman", "create", "--pull=never", *flags(), built.tag)]
    command = [part for part in command if part != "--read-only"]
    container = built.host.run(*command).stdout.strip().splitlines()[-1]
    try:
        built.host.must("podman", "cp", extra, f"{container}:{SITE}/{name}")
        done = built.host.run_within(120, "podman", "start", "--attach", container)
    finally:
        built.host.must("podman", "rm", "--force", "--time=0", container)
    assert refusal(done) == f"The seal is broken: {SITE}/{name} is not listed."
    assert "IT RAN" not in done.stdout + done.stderr


def test_list_in_the_image_covers_every_file_that_python_could_load(built: Built) -> None:
    program = (
        "import sys, os, appliance.code_seal as seal;"
        "listed = seal.parse(open(seal.LIST_PATH).read());"
        "folders = [os.path.realpath(path) for path in sys.path if os.path.isdir(path)];"
        "print(*(f for f in folders if not any((f + '/').startswith(os.path.realpath(c) + '/')"
        " for c in listed.closed)))"
    )
    command = ("podman", "run", "--rm", "--entrypoint=python", *flags(), built.tag, "-c", program)
    done = built.host.run_within(120, *command)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


def test_intact_code_is_verified_before_anything_else_is_refused(built: Built) -> None:
    """Without a token, the gateway does not start; the seal is intact."""
    done = boot(built)
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    intact = next(event for event in events if event["event"] == "code intact")
    assert events[0] is intact
    print(intact)
    assert intact["files"] > 10_000
    assert done.returncode not in (0, SealBroken.exit_code)
