"""A gateway that was taken over, in the real container: what it can do to the other processes.

How far it is confined depends on the kernel. All that this kernel can hold is asserted, and the
rest has to be shown to the operator. tests/confinement/test_confine.py imitates older kernels.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import code_seal
from appliance.access import file
from appliance.access.store import Store, new_store
from appliance.confinement import landlock
from appliance.confinement.confine import GAPS, Confinement
from appliance.console.status import GAPS as WORDS
from appliance.weights.seal import sha256_of
from tests.confinement.attack import BAIT
from tests.confinement.hook import STORE as STORE_PATH
from tests.confinement.landlock_versions import possible
from tests.host.hosts import USER
from tests.image.sealed import Built, Network, SealedContainer, flags

CONFINEMENT = Path(__file__).parents[1] / "confinement"
SITE = "/opt/voice/venv/lib/python3.11/site-packages"
STORE = Path(STORE_PATH)
LIMIT_SECONDS = 60.0  # for a busy machine
OTHERS = {"boot", "supervisord", "guard", "exporter", "llm", "tts"}
ABI = landlock.version()  # of this host's kernel, which is also the container's
# Sends the signal on which hook.py attacks. `podman exec` is not confined, so it may do that.
SIGNAL = f"""
import os, psutil, signal
open("/run/voice/{BAIT}", "w").close()
for process in psutil.process_iter():
    if process.cmdline()[-2:] == ["appliance", "gateway"]:
        os.kill(process.pid, signal.SIGUSR2)
"""
PIDS = """
import json, psutil
print(json.dumps({p.cmdline()[-1]: p.pid for p in psutil.process_iter() if "-m" in p.cmdline()}))
"""


def list_with(built: Built, path: str, content: Path) -> str:
    """Return the image's list of code with one more file: the seal would refuse the hook."""
    show = ("podman", "run", "--rm", "--entrypoint=cat", *flags(), built.tag, code_seal.LIST_PATH)
    listed = code_seal.parse(built.host.must(*show))
    added = code_seal.CodeEntry(sha256_of(content), content.stat().st_size)
    entries = {**listed.entries, path: added}
    return code_seal.render(code_seal.CodeList(listed.closed, listed.exceptions, entries))


def token_store(folder: Path) -> Path:
    """Make a token store of the container's user, as `voicectl token create` does."""
    folder.mkdir(mode=0o700)
    os.chown(folder, USER, USER)

    def created(_: Store | None) -> Store:
        store = new_store(secrets.token_bytes)
        return store.create("ward-3", int(time.time()), secrets.token_bytes)[0]

    file.change(folder / STORE.name, created)
    return folder / STORE.name


@pytest.fixture(scope="module")
def appliance(
    built: Built, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SealedContainer]:
    folder = tmp_path_factory.mktemp("taken")
    hook = folder / "hook.pth"
    hook.write_text("import sys; sys.path.append('/attack'); import hook\n")
    hook.chmod(0o644)
    code_list = folder / "code.list"
    code_list.write_text(list_with(built, f"{SITE}/hook.pth", hook))
    code_list.chmod(0o644)
    mounts = (
        f"{hook}:{SITE}/hook.pth:ro",
        f"{code_list}:{code_seal.LIST_PATH}:ro",
        f"{CONFINEMENT}:/attack:ro",
    )
    store = token_store(folder / "access")
    options = (
        *(f"--volume={mount}" for mount in (*mounts, f"{store.parent}:{STORE.parent}:ro")),
        f"--env=VOICE_GATEWAY_TOKEN_STORE={STORE}",
    )
    running = SealedContainer(built, network, folder, options)
    try:
        yield running.start().wait_ready()
    finally:
        running.remove()


def pids(appliance: SealedContainer) -> dict[str, int]:
    return {str(name): int(pid) for name, pid in json.loads(appliance.inside(PIDS)).items()}


@pytest.fixture(scope="module")
def results(appliance: SealedContainer) -> dict[str, str]:
    before = pids(appliance)
    appliance.inside(SIGNAL)
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (found := _reports(appliance)):
        assert time.monotonic() < deadline, appliance.tail()
        time.sleep(0.2)
    after = pids(appliance)
    assert {name: after[name] for name in before if name in after} == before, "a process has ended"
    return dict(found[0]["results"])


def _reports(appliance: SealedContainer) -> list[dict[str, Any]]:
    return [line for line in appliance.lines() if line["event"] == "attack"]


def test_taken_gateway_can_do_only_what_this_kernel_leaves_open(results: dict[str, str]) -> None:
    assert {name.split()[-1] for name in results if name.startswith("kill group")} == OTHERS
    done = {name for name, outcome in results.items() if outcome.startswith("done")}
    # The store's mount is read-only.
    assert done == possible(ABI) - {"change the store"}, f"version {ABI} of Landlock"


def test_operator_sees_what_the_kernel_leaves_open(appliance: SealedContainer) -> None:
    gaps = Confinement(filtered=True, landlock=ABI).gaps
    shown = [gap for gap in GAPS if appliance.metric(f'voice_confinement_gap{{gap="{gap}"}}')]
    assert shown == list(gaps)
    status = appliance.built.host.must(
        "podman", "exec", appliance.name, "python", "-m", "appliance", "status"
    )
    assert ("NOT CONFINED" in status) is bool(gaps)
    for gap in gaps:
        assert WORDS[gap] in " ".join(status.split())


def test_there_is_no_abstract_socket_to_connect_to(appliance: SealedContainer) -> None:
    """Before Linux 6.12 nothing keeps the gateway from those; a path of them begins with @."""
    sockets = appliance.inside("print(open('/proc/net/unix').read())")
    assert "/run/voice/supervisor.sock" in sockets
    assert " @" not in sockets


def test_taken_gateway_finds_no_key_of_the_ca_and_cannot_change_the_store(
    results: dict[str, str],
) -> None:
    assert results["read the CA's key"].startswith("refused: there is no ca-key.pem")
    assert results["change the store"].startswith("refused")


def test_the_appliance_still_works(appliance: SealedContainer, results: dict[str, str]) -> None:
    appliance.built.host.must("podman", "healthcheck", "run", appliance.name)
    assert appliance.metric('voice_process_up{process="tts"}') == 1
    assert appliance.metric('voice_process_restarts_total{process="llm"}') == 0


def test_operators_can_still_command_it(
    appliance: SealedContainer, results: dict[str, str]
) -> None:
    exec_in = ("podman", "exec", appliance.name)
    before = pids(appliance)["exporter"]
    socket = ("-s", "unix:///run/voice/supervisor.sock")
    answer = appliance.built.host.must(*exec_in, "supervisorctl", *socket, "restart", "exporter")
    assert "exporter: started" in answer
    assert pids(appliance)["exporter"] != before
    assert "ready for calls" in appliance.built.host.must(
        *exec_in, "python", "-m", "appliance", "status", "--plain"
    )
    assert appliance.built.host.must(*exec_in, "python", "-m", "appliance", "drain")
    assert not appliance.fetch("readyz", 8765)
    appliance.built.host.must(*exec_in, "python", "-m", "appliance", "drain", "--undo")


def test_container_stops_cleanly(appliance: SealedContainer, results: dict[str, str]) -> None:
    assert appliance.stop() == 0
    assert not [line for line in appliance.lines() if line["event"] == "program killed"]
