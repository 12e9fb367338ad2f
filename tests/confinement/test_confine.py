"""A confined process, which attacks real processes of its own user.

tests/image/test_taken_gateway.py does the same in the real container.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.confinement import landlock
from appliance.confinement.confine import GAPS, Confinement
from tests.confinement.attack import BAIT, CA_KEY, Attempts, attack_file, attack_secrets
from tests.confinement.landlock_versions import possible
from tests.supervision.dummies import ROOT, DummyAppliance, wait_until

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter is for x86-64")

# As in the container: without the capabilities that root has otherwise.
UNPRIVILEGED = (
    ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--")
    if os.geteuid() == 0
    else ()
)
# A program of the appliance without a task, whose memory is hidden.
HIDDEN = """
import signal
from appliance import core_dumps
core_dumps.hide_memory()
signal.pause()
"""
# Confines itself as the gateway does, waits for the others, and attacks them.
TAKEN = """
import json, os, sys, time
from pathlib import Path
from appliance import run_folder
from appliance.confinement import landlock
from appliance.confinement.confine import confine
from tests.confinement import attack
landlock.version = lambda: ABI
run = Path(os.environ["VOICE_PATHS_RUN"])
confine([run_folder.of_program(run, "gateway")])
targets = Path(sys.argv[0]).with_name("targets.json")
while not targets.exists():
    time.sleep(0.05)
host = targets.with_name("host")
attack.report(
    attack.run(str(run), json.loads(targets.read_text()), PORT, str(host / "tokens"), str(host))
)
while True:
    time.sleep(60)
"""
VICTIM = """
import sys, time
print("up", flush=True)
while True:
    time.sleep(60)
"""
CONTROL = """
import os, sys
from appliance.confinement import landlock
from appliance.confinement.confine import confine
from tests.confinement import attack
if sys.argv[2:] == ["filtered"]:
    landlock.restrict = lambda writable: 0
    confine([])
attempts = attack.Attempts()
attack.attack_process("victim", int(sys.argv[1]), attempts)
attack.report(attempts.results)
"""
OTHER_USER = 10_001
ABI = landlock.version()
# With each set of rules that the appliance asks a kernel for. Between these versions none is added.
ABIS = [abi for abi in (0, 1, 2, 3, 4, 6) if abi <= ABI]


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[str]]:
    """An unprotected process in a group of its own."""
    process = subprocess.Popen(
        [*UNPRIVILEGED, sys.executable, "-c", VICTIM],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout and process.stdout.readline()
    yield process
    process.kill()
    process.wait()


def make_secrets(folder: Path, owner: int | None) -> None:
    """Make a store, and a CA's key that `owner` has. On a host the key is root's.

    Without an owner there is no key, as in the container.
    """
    authority = folder / "ca"
    authority.mkdir(parents=True)
    (folder / "tokens").write_text("the store")
    if owner is not None:
        (authority / CA_KEY).write_text("the key")
        for path, mode in ((authority / CA_KEY, 0o400), (authority, 0o700)):
            path.chmod(mode)
            os.chown(path, owner, owner)


def attacked(folder: Path, abi: int) -> tuple[dict[str, str], DummyAppliance]:
    """Run an appliance whose gateway attacks it; return the results and the appliance.

    abi     version of Landlock that the kernel seems to have, at most its own
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return _attacked(folder, abi, listener.getsockname()[1])


def _attacked(folder: Path, abi: int, port: int) -> tuple[dict[str, str], DummyAppliance]:
    source = TAKEN.replace("ABI", str(abi)).replace("PORT", str(port))
    appliance = DummyAppliance(folder, {"gateway": source, "exporter": HIDDEN}, UNPRIVILEGED)
    exporter = appliance.wait_running("exporter").pid
    guard = appliance.wait_running("guard")
    supervisord = int((appliance.run / "supervisord.pid").read_text())
    targets = {"exporter": exporter, "guard": guard.pid, "supervisord": supervisord}
    (appliance.run / BAIT).touch()
    make_secrets(folder / "host", OTHER_USER if os.geteuid() == 0 else None)
    partial = folder / "targets.partial"
    partial.write_text(json.dumps(targets))
    partial.rename(folder / "targets.json")

    def results() -> dict[str, Any] | None:
        lines = [line for line in appliance.lines() if '"attack"' in line]
        return json.loads(lines[0])["results"] if lines else None

    found = wait_until(results)
    assert {name: appliance.wait_running(name).pid for name in ("exporter", "guard")} == {
        "exporter": exporter,
        "guard": guard.pid,
    }
    assert appliance.stop() == 0
    return found, appliance


def done(results: dict[str, str]) -> set[str]:
    return {name for name, outcome in results.items() if outcome.startswith("done")}


@pytest.mark.parametrize("abi", ABIS)
def test_taken_gateway_can_do_only_what_this_version_of_landlock_leaves_open(
    abi: int, tmp_path: Path
) -> None:
    results, appliance = attacked(tmp_path, abi)
    assert done(results) == possible(abi), f"rules of version {abi} on a kernel with {ABI}"
    assert len(results) > 50
    for warning, is_open in (
        ("kernel has no landlock", abi < 1),
        ("connections are not confined", abi < 4),
        ("system calls are not filtered", False),
    ):
        assert any(warning in line for line in appliance.lines()) is is_open


def test_every_gap_is_named() -> None:
    """Of kernels, and machines, that this one cannot imitate."""
    assert Confinement(filtered=False, landlock=0).gaps == GAPS
    assert Confinement(filtered=False, landlock=6).gaps == ("system_calls",)
    assert Confinement(filtered=True, landlock=4).gaps == ()


def test_file_that_nothing_protects_is_changed(tmp_path: Path) -> None:
    bait = tmp_path / BAIT
    bait.touch()
    attempts = Attempts()
    attack_file(bait, attempts)
    assert set(attempts.results) == done(attempts.results), attempts.results
    assert not bait.exists()


def test_secrets_that_nothing_protects_are_found(tmp_path: Path) -> None:
    make_secrets(tmp_path, os.geteuid())
    attempts = Attempts()
    attack_secrets(str(tmp_path / "tokens"), str(tmp_path), attempts)
    assert done(attempts.results) == {"read the store", "change the store", "read the CA's key"}


def attack_unprotected(victim: subprocess.Popen[str], *options: str) -> dict[str, str]:
    """Attack a process whose memory is not hidden; return the results."""
    attack = subprocess.run(
        [*UNPRIVILEGED, sys.executable, "-c", CONTROL, str(victim.pid), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in attack.stdout.splitlines() if '"attack"' in line]
    found: dict[str, str] = json.loads(lines[-1])["results"]
    return found


def test_the_same_attempts_succeed_against_an_unprotected_process(
    victim: subprocess.Popen[str],
) -> None:
    results = attack_unprotected(victim)
    assert set(results) == done(results), results
    assert victim.wait(30) == -signal.SIGKILL


def test_filter_alone_leaves_only_the_files_of_an_unprotected_process(
    victim: subprocess.Popen[str],
) -> None:
    """Hidden memory is a second obstacle for some of the attempts: here it is not there."""
    results = attack_unprotected(victim, "filtered")
    files = ("environ", "maps", "files", "mem", "mem write")
    assert done(results) == {f"{name} victim" for name in files}
    assert victim.poll() is None
