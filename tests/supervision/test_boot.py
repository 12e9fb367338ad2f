"""boot, with a real supervisord and dummy programs."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from appliance import run_folder
from appliance.processes import GUARD
from appliance.settings import load
from appliance.supervision import boot
from appliance.supervision.policy import RestartLimits, Symptom, decide
from appliance.supervision.supervisor_client import Program
from tests.supervision import dummies
from tests.supervision.conftest import Start
from tests.supervision.dummies import wait_until


def test_stop_signal_stops_all_programs_and_exits_with_0(start: Start) -> None:
    appliance = start({"gateway": dummies.SLEEPER, "tts": dummies.SLEEPER})
    pids = [appliance.wait_running("gateway").pid, appliance.wait_running("tts").pid]
    assert appliance.stop() == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not (appliance.run / "reason.json").exists()


@pytest.mark.parametrize("marked", [True, False])
def test_appliance_is_closed_before_its_first_program_starts_if_the_host_asks_for_it(
    start: Start, tmp_path: Path, marked: bool
) -> None:
    mark = tmp_path / "start-closed"
    if marked:
        mark.touch()
    says = "from pathlib import Path; import os, signal; "
    says += "print('closed', (Path(os.environ['VOICE_PATHS_RUN']) / 'closed').exists(), flush=True)"
    settings = {"VOICE_GATEWAY_START_CLOSED_FILE": str(mark)}
    appliance = start({"gateway": f"{says}; signal.pause()"}, **settings)
    appliance.wait_running("gateway")
    wait_until(lambda: f"closed {marked}" in appliance.lines())


def test_program_that_ignores_the_stop_signal_is_killed(start: Start) -> None:
    appliance = start({"gateway": dummies.STUBBORN})
    pid = appliance.wait_running("gateway").pid
    assert appliance.stop() == 0
    assert not psutil.pid_exists(pid)


def test_killed_program_is_restarted_and_counted(start: Start) -> None:
    appliance = start({"gateway": dummies.SLEEPER, "tts": dummies.SLEEPER})
    first = appliance.wait_running("tts")
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: run_folder.read_restarts(appliance.run)["tts"] == 1)
    assert appliance.wait_running("tts").pid != first.pid
    assert run_folder.read_restarts(appliance.run)["gateway"] == 0
    events = [json.loads(line) for line in appliance.lines() if line.startswith("{")]
    restarts = [event for event in events if event["event"] == "program restarted"]
    assert [(event["program"], event["restarts"]) for event in restarts] == [("tts", 1)]


def test_program_that_keeps_failing_shuts_the_appliance_down(start: Start) -> None:
    before = psutil.Process().children(recursive=True)
    appliance = start({"gateway": dummies.SLEEPER, "tts": dummies.BROKEN})
    assert appliance.wait() == 70
    assert appliance.reason()["reason"] == "program_failed"
    assert "tts" in appliance.reason()["what"]
    assert appliance.reason()["exit_code"] == 70
    assert set(psutil.Process().children(recursive=True)) <= set(before)


def test_appliance_exits_with_the_error_of_a_program_that_refuses_to_start(start: Start) -> None:
    appliance = start({"gateway": dummies.SLEEPER, "tts": dummies.REFUSING})
    assert appliance.wait() == 78
    assert appliance.reason()["reason"] == "missing_weights"
    assert "model.onnx" in appliance.reason()["what"]


def test_death_of_supervisord_terminates_every_process(start: Start) -> None:
    appliance = start({"gateway": dummies.SLEEPER, "tts": dummies.STUBBORN})
    pids = [appliance.wait_running("gateway").pid, appliance.wait_running("tts").pid]
    supervisord = int((appliance.run / "supervisord.pid").read_text())
    os.kill(supervisord, signal.SIGKILL)
    assert appliance.wait() == 71
    assert "signal 9" in appliance.reason()["what"]
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_broken_seal_prevents_the_start(start: Start) -> None:
    appliance = start({"gateway": dummies.SLEEPER}, BROKEN_SEAL="yes")
    assert appliance.wait() == 79
    assert appliance.reason()["reason"] == "seal_broken"
    assert not (appliance.run / "supervisor.sock").exists()


def test_second_appliance_in_the_same_folder_is_refused(start: Start) -> None:
    first = start({"gateway": dummies.SLEEPER})
    pid = first.wait_running("gateway").pid
    second = start({"gateway": dummies.SLEEPER})
    assert second.wait() == 78
    assert first.wait_running("gateway").pid == pid


def test_appliance_starts_after_an_unclean_exit(start: Start) -> None:
    first = start({"gateway": dummies.SLEEPER})
    first.wait_running("gateway")
    supervisord = psutil.Process(int((first.run / "supervisord.pid").read_text()))
    pids = [first.boot.pid, supervisord.pid, *(child.pid for child in supervisord.children())]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    first.wait()
    second = start({"gateway": dummies.SLEEPER})
    second.wait_running("gateway")
    assert second.stop() == 0


def test_output_lines_of_all_programs_reach_a_file_unbroken(start: Start) -> None:
    appliance = start({"gateway": dummies.TALKER, "tts": dummies.TALKER})
    wait_until(lambda: sum("-end" in line for line in appliance.lines()) >= 100)
    appliance.stop()
    lines = [line for line in appliance.lines() if "line-" in line]
    assert lines == ["line-" + "x" * 200 + "-end"] * 100


def test_output_may_be_a_socket_as_under_systemd(start: Start, tmp_path: Path) -> None:
    reader, writer = socket.socketpair()
    appliance = start({"gateway": dummies.SLEEPER})
    appliance.stop()
    command = [sys.executable, "-c", dummies.BOOT, str(tmp_path / "dummies.conf")]
    with reader, writer:
        second = subprocess.Popen(command, env=appliance.environ, stdout=writer.fileno())
        reader.settimeout(dummies.TIMEOUT_SECONDS)
        received = b""
        while b"up\n" not in received:
            received += reader.recv(4096)
        second.terminate()
        assert second.wait(dummies.TIMEOUT_SECONDS) == 0


@pytest.mark.parametrize("output", ["/dev/full", "closed"])
def test_output_that_accepts_no_bytes_does_not_block_programs(output: str) -> None:
    program = f"""
import os
from appliance.supervision.boot import _OutputPipe
output = _OutputPipe()
if {output!r} == "closed":
    read_end, write_end = os.pipe()
    os.close(read_end)
else:
    write_end = os.open({output!r}, os.O_WRONLY)
os.dup2(write_end, 1)
end = os.dup(output.write_end)
output.start()
for _ in range(100):
    os.write(end, b"x" * 65536)
os.close(end)
output.finish()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=dummies.ROOT, timeout=dummies.TIMEOUT_SECONDS
    )
    assert done.returncode == 0


def test_appliance_continues_and_stops_cleanly_after_its_log_reader_exits(
    start: Start, tmp_path: Path
) -> None:
    appliance = start({"gateway": dummies.SLEEPER})
    appliance.stop()
    read_end, write_end = os.pipe()
    command = [sys.executable, "-c", dummies.BOOT, str(tmp_path / "dummies.conf")]
    second = subprocess.Popen(command, env=appliance.environ, stdout=write_end)
    first = appliance.wait_running("gateway")
    os.close(write_end)
    os.close(read_end)
    os.kill(first.pid, signal.SIGKILL)  # makes boot log a line
    wait_until(lambda: run_folder.read_restarts(appliance.run)["gateway"] == 1)
    assert appliance.wait_running("gateway").pid != first.pid
    second.terminate()
    assert second.wait(dummies.TIMEOUT_SECONDS) == 0


def test_killing_a_process_that_just_exited_is_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = subprocess.Popen(["true"])
    exited = psutil.Process(short.pid)
    short.wait()
    running = boot._Boot(load({"VOICE_PATHS_RUN": str(tmp_path)}), tmp_path, boot.CONF, {})
    guard = Program(GUARD, "RUNNING", short.pid, 1)
    running._handle_guard(decide(Symptom("silent", GUARD), 0, RestartLimits(5, 60.0)), [guard])
    running._status = 0  # supervisord has ended
    monkeypatch.setattr(running, "_reap", lambda: None)
    monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: [exited])
    running._stop()


def test_control_socket_is_accessible_only_to_its_owner(start: Start) -> None:
    appliance = start({"gateway": dummies.SLEEPER})
    appliance.wait_running("gateway")
    assert stat.S_IMODE((appliance.run / "supervisor.sock").stat().st_mode) == 0o700
    assert stat.S_IMODE(appliance.run.stat().st_mode) == 0o700
