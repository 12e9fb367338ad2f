"""The guard, first over pipes (the event protocol), then under a real boot and supervisord."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from appliance import run_folder
from appliance.errors import MissingWeights, ModelUnhealthy
from appliance.link.health import ask_health
from appliance.settings import Settings, load
from appliance.supervision import guard
from appliance.supervision.events import SupervisorEvent
from appliance.supervision.observe import Observer
from appliance.supervision.policy import Symptom
from appliance.supervision.symptoms import Observation
from tests.supervision import dummies
from tests.supervision.conftest import Start
from tests.supervision.dummies import ROOT, TIMEOUT_SECONDS, DummyAppliance, wait_until
from tests.supervision.test_terminate import PARENT, has_exited
from tests.supervision.test_terminate import start as start_process

QUICK = {
    "VOICE_SUPERVISION_CHECK_SECONDS": "0.3",
    "VOICE_SUPERVISION_SILENT_SECONDS": "3",
    "VOICE_SUPERVISION_LOAD_SECONDS": "60",
}


@pytest.fixture
def start_quickly(start: Start) -> Start:
    """`start` with short check intervals, so that the guard detects faults within seconds."""
    return lambda programs, **environ: start(programs, **(QUICK | environ))


def wait_for_action(appliance: DummyAppliance, action: str, cause: str, times: int = 1) -> None:
    """Wait until the guard has taken `action` because of `cause` at least `times` times."""
    wait_until(lambda: appliance.counts().get((action, cause), 0) >= times)


def wait_for_healthy_pid(appliance: DummyAppliance, name: str) -> int:
    """Wait until the program runs and has answered the guard's health check; return its pid."""
    wait_until(lambda: name in run_folder.read_guard(appliance.run).get("answering", []))
    return appliance.wait_running(name).pid


# The protocol.


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "VOICE_PATHS_RUN": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance", "guard"],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    yield process
    process.kill()
    process.communicate()


def process_guard(
    settings: Settings, send: Callable[[bytes], None] = lambda data: None
) -> guard.ProcessGuard:
    return guard.ProcessGuard(settings, Observer(settings, ask_health), send)


def send(listener: subprocess.Popen[bytes], name: str, payload: str) -> bytes:
    """Send an event the way supervisord does. Returns the listener's reply."""
    assert listener.stdin and listener.stdout
    head = f"ver:3.0 server:supervisor serial:1 pool:guard poolserial:1 eventname:{name}"
    listener.stdin.write(f"{head} len:{len(payload)}\n{payload}".encode())
    listener.stdin.flush()
    return listener.stdout.read(len(b"RESULT 2\nOKREADY\n"))


def test_stdout_carries_the_protocol_and_stderr_json_log_lines(
    listener: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert listener.stdin and listener.stdout
    assert listener.stdout.read(6) == b"READY\n"
    assert send(listener, "TICK_5", "when:1201063880") == b"RESULT 2\nOKREADY\n"
    exited = "processname:tts groupname:tts from_state:RUNNING expected:0 pid:999999"
    assert send(listener, "PROCESS_STATE_EXITED", exited) == b"RESULT 2\nOKREADY\n"
    listener.stdin.close()  # supervisord has ended
    listener.stdin = None
    output, log = listener.communicate(timeout=TIMEOUT_SECONDS)
    assert output == b""
    assert listener.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["event"] for line in lines] == ["guard started", "guard restarts process"]
    assert (lines[1]["program"], lines[1]["reason"]) == ("tts", "exited")
    status = run_folder.read_guard(tmp_path)
    assert status["last"]["program"] == "tts"
    assert status["actions"] == [{"action": "restart_process", "cause": "exited", "count": 1}]


def test_protocol_violation_makes_the_guard_exit_for_a_restart(
    listener: subprocess.Popen[bytes],
) -> None:
    _, log = listener.communicate(b"nonsense\n", timeout=TIMEOUT_SECONDS)
    assert listener.returncode == 70
    assert json.loads(log.splitlines()[-1])["error"] == "BadEvent"


def test_guard_exits_with_0_on_a_stop_signal(listener: subprocess.Popen[bytes]) -> None:
    assert listener.stdout
    assert listener.stdout.read(6) == b"READY\n"
    listener.terminate()
    assert listener.wait(TIMEOUT_SECONDS) == 0


def test_invalid_setting_is_refused_and_recorded(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "guard"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "VOICE_PATHS_RUN": str(tmp_path)}
        | {"SUPERVISOR_ENABLED": "1", "VOICE_SUPERVISION_CHECK_SECONDS": "0"},
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (78, b"")
    assert "VOICE_SUPERVISION_CHECK_SECONDS" in json.loads(done.stderr)["what"]
    error = run_folder.read_failure(tmp_path, "guard")
    assert str(error).startswith("The setting VOICE_SUPERVISION_CHECK_SECONDS")


async def test_guard_without_events_exits_for_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "NO_EVENTS_SECONDS", 0.3)
    sent: list[bytes] = []
    settings = load({"VOICE_PATHS_RUN": str(tmp_path), "VOICE_SUPERVISION_CHECK_SECONDS": "0.1"})
    code = await process_guard(settings, sent.append).run(asyncio.StreamReader())
    assert (code, sent) == (guard.EXIT_NO_EVENTS, [b"READY\n"])


# With a real boot and supervisord.


@pytest.mark.parametrize(
    ("source", "cause"), [(dummies.SHORT_LIVED, "exited"), (dummies.SICK, "sick")]
)
def test_process_that_dies_every_two_seconds_shuts_the_appliance_down(
    start_quickly: Start, source: str, cause: str
) -> None:
    appliance = start_quickly(
        {"gateway": dummies.HEALTHY, "exporter": source},
        VOICE_SUPERVISION_MAX_RESTARTS="2",
    )
    assert appliance.wait() == 80
    assert appliance.reason()["reason"] == "restart_loop"
    assert "exporter was restarted 2 times" in appliance.reason()["what"]
    assert appliance.counts() == {
        ("restart_process", cause): 2,
        ("end_appliance", cause): 1,
    }


def test_engine_that_keeps_dying_restarts_both_engines(start_quickly: Start) -> None:
    appliance = start_quickly({"tts": dummies.HEALTHY, "llm": dummies.SHORT_LIVED})
    first = wait_for_healthy_pid(appliance, "tts")
    wait_for_action(appliance, "restart_engines", "exited")
    wait_until(lambda: appliance.wait_running("tts").pid != first)
    assert appliance.counts()["restart_process", "exited"] == 2
    assert appliance.stop() == 0


def test_process_that_never_starts_shuts_the_appliance_down(start_quickly: Start) -> None:
    appliance = start_quickly({"gateway": dummies.HEALTHY, "tts": dummies.BROKEN})
    assert appliance.wait() == 70
    assert appliance.reason()["reason"] == "program_failed"
    assert appliance.counts()["end_appliance", "fatal"] == 1


def test_guard_started_late_still_reports_why_a_process_refused_to_start(tmp_path: Path) -> None:
    run_folder.write_failure(tmp_path, "tts", MissingWeights(path="model.onnx"))
    settings = load({"VOICE_PATHS_RUN": str(tmp_path)})
    first = process_guard(settings)
    first._handle_symptoms([first._with_reason(Symptom("fatal", "tts"))])
    assert str(run_folder.read_failure(tmp_path, "guard")).startswith("The model file model.onnx")
    second = process_guard(settings)
    second._handle_symptoms([Symptom("fatal", "gateway")])  # the first decision stands
    actions = run_folder.read_guard(tmp_path)["actions"]
    assert [action["cause"] for action in actions] == ["refused"]


def test_unhealthy_model_is_counted_once_and_a_later_exit_as_exited(
    tmp_path: Path,
) -> None:
    run_folder.write_failure(tmp_path, "llm", ModelUnhealthy(engine="llm"))
    running = process_guard(load({"VOICE_PATHS_RUN": str(tmp_path)}))
    fatal = Symptom("fatal", "llm")
    assert running._with_reason(fatal) == fatal
    exited = SupervisorEvent("PROCESS_STATE_EXITED", {"processname": "llm", "pid": "0"})
    for _ in range(2):
        running._on_event(exited)
    actions = run_folder.read_guard(tmp_path)["actions"]
    counts = [(action["cause"], action["count"]) for action in actions]
    assert counts == [("exited", 1), ("sick", 1)]


def test_children_of_a_process_that_died_while_loading_are_killed(tmp_path: Path) -> None:
    running = process_guard(load({"VOICE_PATHS_RUN": str(tmp_path)}))
    loading, child = start_process(PARENT)
    running._observations = {"llm": Observation("llm", "STARTING", loading.pid)}
    loading.kill()
    loading.wait()
    running._on_event(
        SupervisorEvent("PROCESS_STATE_BACKOFF", {"processname": "llm", "tries": "1"})
    )
    wait_until(lambda: has_exited(int(child)))


def test_terminating_a_process_that_just_exited_is_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = process_guard(load({"VOICE_PATHS_RUN": str(tmp_path)}))
    exited = subprocess.Popen(["true"])
    exited.wait()
    running._observations = {"tts": Observation("tts", "RUNNING", exited.pid)}
    monkeypatch.setattr(psutil, "pid_exists", lambda pid: True)  # as if it exits a moment later
    running._handle_symptoms([Symptom("memory", "tts")])


def test_leaking_process_is_restarted_then_shuts_the_appliance_down(start_quickly: Start) -> None:
    appliance = start_quickly(
        {"gateway": dummies.HEALTHY, "tts": dummies.LEAKING},
        VOICE_SUPERVISION_MAX_RESTARTS="1",
        VOICE_SUPERVISION_TTS_MEMORY_BYTES="200000000",
    )
    assert appliance.wait() == 83
    assert appliance.reason()["reason"] == "memory_grown"
    assert appliance.counts() == {
        ("restart_process", "memory"): 1,
        ("end_appliance", "memory"): 1,
    }


def test_frozen_process_is_killed_and_restarted(start_quickly: Start) -> None:
    appliance = start_quickly({"gateway": dummies.HEALTHY, "tts": dummies.HEALTHY})
    other = wait_for_healthy_pid(appliance, "gateway")
    frozen = wait_for_healthy_pid(appliance, "tts")
    os.kill(frozen, signal.SIGSTOP)
    wait_for_action(appliance, "restart_process", "silent")
    wait_until(lambda: not psutil.pid_exists(frozen))
    assert wait_for_healthy_pid(appliance, "tts") != frozen
    wait_until(lambda: run_folder.read_restarts(appliance.run)["tts"] == 1)
    assert appliance.wait_running("gateway").pid == other
    assert appliance.counts() == {("restart_process", "silent"): 1}
    assert appliance.stop() == 0


def test_engine_that_never_loads_shuts_the_appliance_down(start_quickly: Start) -> None:
    appliance = start_quickly(
        {"tts": dummies.LOADING},
        VOICE_SUPERVISION_SILENT_SECONDS="1",
        VOICE_SUPERVISION_LOAD_SECONDS="5",
        VOICE_SUPERVISION_MAX_RESTARTS="0",
    )
    first = wait_for_healthy_pid(appliance, "tts")
    assert appliance.wait() == 82
    assert appliance.reason()["reason"] == "never_ready"
    assert appliance.counts() == {("end_appliance", "not_ready"): 1}
    assert not psutil.pid_exists(first)


def test_killed_guard_is_restarted_and_keeps_its_history(start_quickly: Start) -> None:
    appliance = start_quickly({"tts": dummies.HEALTHY})
    os.kill(wait_for_healthy_pid(appliance, "tts"), signal.SIGKILL)
    wait_for_action(appliance, "restart_process", "exited")
    first = appliance.wait_running("guard").pid
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: run_folder.read_restarts(appliance.run)["guard"] == 1)
    assert appliance.wait_running("guard").pid != first
    os.kill(wait_for_healthy_pid(appliance, "tts"), signal.SIGKILL)
    wait_for_action(appliance, "restart_process", "exited", 2)
    assert appliance.stop() == 0


def test_frozen_guard_is_killed_and_restarted(start_quickly: Start) -> None:
    appliance = start_quickly({"tts": dummies.HEALTHY})
    wait_until(lambda: run_folder.read_guard(appliance.run).get("beat"))
    first = appliance.wait_running("guard").pid
    os.kill(first, signal.SIGSTOP)
    wait_until(lambda: run_folder.read_restarts(appliance.run)["guard"] == 1)
    os.kill(wait_for_healthy_pid(appliance, "tts"), signal.SIGKILL)
    wait_for_action(appliance, "restart_process", "exited")
    assert not psutil.pid_exists(first)
    assert appliance.stop() == 0


def test_guard_that_keeps_dying_shuts_the_appliance_down(start_quickly: Start) -> None:
    appliance = start_quickly({"tts": dummies.HEALTHY}, VOICE_SUPERVISION_MAX_RESTARTS="0")
    os.kill(appliance.wait_running("guard").pid, signal.SIGKILL)
    assert appliance.wait() == 80
    assert "guard" in appliance.reason()["what"]


def test_frozen_supervisord_terminates_every_process(start_quickly: Start) -> None:
    appliance = start_quickly({"gateway": dummies.HEALTHY, "tts": dummies.STUBBORN})
    pids = [appliance.wait_running(name).pid for name in ("gateway", "tts", "guard")]
    supervisord = int((appliance.run / "supervisord.pid").read_text())
    os.kill(supervisord, signal.SIGSTOP)
    assert appliance.wait() == 71
    assert "did not answer" in appliance.reason()["what"]
    assert not any(psutil.pid_exists(pid) for pid in (*pids, supervisord))


PYNVML_THAT_LOSES_ITS_GPU = """
import os
from tests.fakes import FakeNvml, NVML_L4

NVMLError = FakeNvml.NVMLError

def __getattr__(name):
    gone = os.path.exists(os.environ["VOICE_PATHS_RUN"] + "/gpu-lost")
    fake = FakeNvml(*(() if gone else (NVML_L4,)))
    fake.open = 1
    return getattr(fake, name)
"""


def test_lost_gpu_shuts_the_appliance_down(start_quickly: Start, tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text(PYNVML_THAT_LOSES_ITS_GPU)
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    use_gpu = {"VOICE_TTS_BACKEND": "torch", "VOICE_TTS_DEVICE": "cuda"}
    appliance = start_quickly({"tts": dummies.HEALTHY}, PYTHONPATH=path, **use_gpu)
    wait_until(lambda: run_folder.read_guard(appliance.run).get("cards"))
    (appliance.run / "gpu-lost").touch()
    assert appliance.wait() == 84
    assert appliance.reason()["reason"] == "gpu_lost"
    assert appliance.counts() == {("end_appliance", "gpu_lost"): 1}
