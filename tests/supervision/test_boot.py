"""boot with a real supervisord and tiny programs."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from appliance import run_folder
from appliance.settings import PathsConfig, Settings
from appliance.supervision import boot
from appliance.supervision.policy import Bounds, Symptom, decide
from appliance.supervision.supervisor_client import GUARD, Program
from tests.supervision import dummies
from tests.supervision.dummies import Appliance, until

Start = Callable[..., Appliance]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Appliance] = []

    def starter(programs: dict[str, str], **environ: str) -> Appliance:
        started.append(Appliance(tmp_path, programs, **environ))
        return started[-1]

    yield starter
    for appliance in started:
        appliance.stop()


def test_a_stop_signal_stops_all_programs_and_is_a_success(start: Start) -> None:
    appliance = start({"gateway": dummies.SLEEPER, "tts": dummies.SLEEPER})
    pids = [appliance.running("gateway").pid, appliance.running("tts").pid]
    assert appliance.stop() == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not (appliance.run / "reason.json").exists()


def test_a_program_that_ignores_the_stop_signal_is_killed(start: Start) -> None:
    appliance = start({"gateway": dummies.STUBBORN})
    pid = appliance.running("gateway").pid
    assert appliance.stop() == 0
    assert not psutil.pid_exists(pid)


def test_a_killed_program_comes_back_and_its_restart_is_counted(start: Start) -> None:
    appliance = start({"gateway": dummies.SLEEPER, "tts": dummies.SLEEPER})
    first = appliance.running("tts")
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: run_folder.read_restarts(appliance.run)["tts"] == 1)
    assert appliance.running("tts").pid != first.pid
    assert run_folder.read_restarts(appliance.run)["gateway"] == 0
    events = [json.loads(line) for line in appliance.lines() if line.startswith("{")]
    again = [event for event in events if event["event"] == "program restarted"]
    assert [(event["program"], event["restarts"]) for event in again] == [("tts", 1)]


def test_a_program_that_cannot_be_kept_running_ends_the_appliance(start: Start) -> None:
    before = psutil.Process().children(recursive=True)
    appliance = start({"gateway": dummies.SLEEPER, "tts": dummies.BROKEN})
    assert appliance.ended() == 70
    assert appliance.reason()["reason"] == "program_failed"
    assert "tts" in appliance.reason()["what"]
    assert appliance.reason()["exit_code"] == 70
    assert set(psutil.Process().children(recursive=True)) <= set(before)


def test_a_program_that_refuses_to_start_gives_the_appliance_its_own_error(start: Start) -> None:
    appliance = start({"gateway": dummies.SLEEPER, "tts": dummies.REFUSING})
    assert appliance.ended() == 78
    assert appliance.reason()["reason"] == "missing_weights"
    assert "model.onnx" in appliance.reason()["what"]


def test_when_supervisord_dies_nothing_is_left_behind(start: Start) -> None:
    appliance = start({"gateway": dummies.SLEEPER, "tts": dummies.STUBBORN})
    pids = [appliance.running("gateway").pid, appliance.running("tts").pid]
    supervisord = int((appliance.run / "supervisord.pid").read_text())
    os.kill(supervisord, signal.SIGKILL)
    assert appliance.ended() == 71
    assert "signal 9" in appliance.reason()["what"]
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_broken_seal_starts_nothing(start: Start) -> None:
    appliance = start({"gateway": dummies.SLEEPER}, BROKEN_SEAL="yes")
    assert appliance.ended() == 79
    assert appliance.reason()["reason"] == "seal_broken"
    assert not (appliance.run / "supervisor.sock").exists()


def test_a_second_appliance_in_the_same_folder_is_refused(start: Start) -> None:
    first = start({"gateway": dummies.SLEEPER})
    pid = first.running("gateway").pid
    second = start({"gateway": dummies.SLEEPER})
    assert second.ended() == 78
    assert first.running("gateway").pid == pid


def test_an_unclean_end_does_not_keep_the_next_start_from_working(start: Start) -> None:
    first = start({"gateway": dummies.SLEEPER})
    first.running("gateway")
    supervisord = psutil.Process(int((first.run / "supervisord.pid").read_text()))
    left = [first.boot.pid, supervisord.pid, *(child.pid for child in supervisord.children())]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    first.ended()
    second = start({"gateway": dummies.SLEEPER})
    second.running("gateway")
    assert second.stop() == 0


def test_lines_of_all_programs_arrive_whole_in_a_file(start: Start) -> None:
    appliance = start({"gateway": dummies.TALKER, "tts": dummies.TALKER})
    until(lambda: sum("-end" in line for line in appliance.lines()) >= 100)
    appliance.stop()
    spoken = [line for line in appliance.lines() if "line-" in line]
    assert spoken == ["line-" + "x" * 200 + "-end"] * 100


def test_output_may_be_a_socket_as_systemd_gives_it(start: Start, tmp_path: Path) -> None:
    here, there = socket.socketpair()
    appliance = start({"gateway": dummies.SLEEPER})
    appliance.stop()
    command = [sys.executable, "-c", dummies.BOOT, str(tmp_path / "dummies.conf")]
    with here, there:
        again = subprocess.Popen(command, env=appliance.environ, stdout=there.fileno())
        here.settimeout(dummies.PATIENCE_SECONDS)
        heard = b""
        while b"up\n" not in heard:
            heard += here.recv(4096)
        again.terminate()
        assert again.wait(dummies.PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("output", ["/dev/full", "closed"])
def test_programs_are_not_held_up_by_an_output_that_takes_nothing(output: str) -> None:
    program = f"""
import os
from appliance.supervision.boot import _Output
output = _Output()
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
        [sys.executable, "-c", program], cwd=dummies.ROOT, timeout=dummies.PATIENCE_SECONDS
    )
    assert done.returncode == 0


def test_an_appliance_whose_log_nobody_takes_any_more_goes_on_and_ends_as_it_should(
    start: Start, tmp_path: Path
) -> None:
    appliance = start({"gateway": dummies.SLEEPER})
    appliance.stop()
    read_end, write_end = os.pipe()
    command = [sys.executable, "-c", dummies.BOOT, str(tmp_path / "dummies.conf")]
    again = subprocess.Popen(command, env=appliance.environ, stdout=write_end)
    first = appliance.running("gateway")
    os.close(write_end)
    os.close(read_end)
    os.kill(first.pid, signal.SIGKILL)  # a line of boot's own
    until(lambda: run_folder.read_restarts(appliance.run)["gateway"] == 1)
    assert appliance.running("gateway").pid != first.pid
    again.terminate()
    assert again.wait(dummies.PATIENCE_SECONDS) == 0


def test_a_process_that_ended_just_before_it_was_killed_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = subprocess.Popen(["true"])
    ended = psutil.Process(short.pid)
    short.wait()
    one = boot._Boot(Settings(paths=PathsConfig(run=tmp_path)), tmp_path, boot.CONF)
    guard = Program(GUARD, "RUNNING", short.pid, 1)
    one._tend_guard(decide(Symptom("silent", GUARD), 0, Bounds(5, 60.0)), [guard])
    one._status = 0  # supervisord has ended
    monkeypatch.setattr(one, "_reap", lambda: None)
    monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: [ended])
    one._stop()


def test_the_control_socket_is_for_the_owner_only(start: Start) -> None:
    appliance = start({"gateway": dummies.SLEEPER})
    appliance.running("gateway")
    assert stat.S_IMODE((appliance.run / "supervisor.sock").stat().st_mode) == 0o700
    assert stat.S_IMODE(appliance.run.stat().st_mode) == 0o700
