"""Who may command supervisord: a real one, its programs, and an operator."""

from __future__ import annotations

import json
import os
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest

from appliance.supervision.supervisor_client import SOCKET, _UnixConnection, _UnixTransport
from appliance.supervision.supervisord import is_program
from tests.supervision import dummies
from tests.supervision.conftest import Start
from tests.supervision.dummies import DummyAppliance, wait_until

# A program of supervisord that is not confined: it tries to command it, also from a child.
COMMANDER = """
import json, os, subprocess, sys, time, xmlrpc.client
from pathlib import Path
from appliance.supervision.supervisor_client import SOCKET, _UnixTransport

run = Path(os.environ["VOICE_PATHS_RUN"])
call = xmlrpc.client.ServerProxy("http://s", transport=_UnixTransport(run / SOCKET, 10))

def attempt(method, *arguments):
    try:
        return str(method(*arguments))[:80]
    except xmlrpc.client.Fault as fault:
        return fault.faultString

names = [each["name"] for each in call.supervisor.getAllProcessInfo()]
results = {
    "stop": attempt(call.supervisor.stopProcess, "tts"),
    "signal": attempt(call.supervisor.signalProcess, "tts", "KILL"),
    "shutdown": attempt(call.supervisor.shutdown),
    "methods": attempt(call.system.listMethods),
    "multicall": attempt(call.system.multicall, []),
}
if len(sys.argv) > 1:
    print(json.dumps({"who": "child", "names": names, **results}), flush=True)
else:
    subprocess.run([sys.executable, __file__, "child"])
    print(json.dumps({"who": "program", "names": names, **results}), flush=True)
    time.sleep(600)
"""


def answers(appliance: DummyAppliance) -> dict[str, Any]:
    lines = [json.loads(line) for line in appliance.lines() if '"who"' in line]
    return {line.pop("who"): line for line in lines}


def operator(appliance: DummyAppliance) -> Any:
    """supervisord's interface for a process that it did not start, as with `podman exec`."""
    transport = _UnixTransport(appliance.run / SOCKET, 30)
    return xmlrpc.client.ServerProxy("http://supervisord", transport=transport)


@pytest.fixture
def appliance(start: Start) -> DummyAppliance:
    appliance = start({"gateway": COMMANDER, "tts": dummies.SLEEPER})
    appliance.wait_running("tts")
    return appliance


def test_program_can_only_list_the_programs(appliance: DummyAppliance) -> None:
    pid = appliance.wait_running("tts").pid
    found = wait_until(lambda: each if len(each := answers(appliance)) == 2 else None)
    for answer in found.values():
        assert sorted(answer.pop("names")) == ["gateway", "guard", "tts"]
        assert set(answer.values()) == {"UNKNOWN_METHOD"}
    assert appliance.wait_running("tts").pid == pid


def test_operator_can_stop_and_start_a_program(appliance: DummyAppliance) -> None:
    before = appliance.wait_running("tts").pid
    assert operator(appliance).supervisor.stopProcess("tts")
    assert operator(appliance).supervisor.startProcess("tts")
    assert appliance.wait_running("tts").pid != before


@pytest.mark.parametrize(
    "page", ["/", "/index.html?action=stopall", "/logtail/tts", "/mainlogtail"]
)
def test_no_page_and_no_log_is_served(appliance: DummyAppliance, page: str) -> None:
    connection = _UnixConnection(appliance.run / SOCKET, 30)
    connection.request("GET", page)
    assert connection.getresponse().status == 404
    connection.close()


def test_process_of_the_host_and_strangers_are_not_programs() -> None:
    assert not is_program(0, os.getpid())
    assert not is_program(os.getpid(), os.getpid())
    assert is_program(os.getpid(), os.getppid())
    exited_pid = 4194305  # above the kernel's limit
    assert is_program(exited_pid, os.getpid())
    assert Path(f"/proc/{os.getppid()}").exists()
