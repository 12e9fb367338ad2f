"""The guard: its side of the protocol over pipes, then with a real boot and supervisord."""

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
from appliance.errors import MissingWeights, ModelSick
from appliance.link.health import ask_health
from appliance.settings import PathsConfig, Settings, SupervisionConfig
from appliance.supervision import guard
from appliance.supervision.events import Event
from appliance.supervision.observe import Observer
from appliance.supervision.policy import Symptom
from appliance.supervision.symptoms import Sight
from tests.supervision import dummies
from tests.supervision.dummies import PATIENCE_SECONDS, ROOT, Appliance, until
from tests.supervision.test_ending import PARENT, gone, started

Start = Callable[..., Appliance]
QUICK = {
    "VOICE_SUPERVISION_CHECK_SECONDS": "0.3",
    "VOICE_SUPERVISION_SILENT_SECONDS": "3",
    "VOICE_SUPERVISION_LOAD_SECONDS": "60",
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Appliance] = []

    def starter(programs: dict[str, str], **environ: str) -> Appliance:
        started.append(Appliance(tmp_path, programs, **(QUICK | environ)))
        return started[-1]

    yield starter
    for appliance in started:
        appliance.stop()


def counted(appliance: Appliance, action: str, cause: str, times: int = 1) -> None:
    """Waits until the guard has done this so often."""
    until(lambda: appliance.counts().get((action, cause), 0) >= times)


def well(appliance: Appliance, name: str) -> int:
    """Waits until the program runs and the guard knows that it answers; its pid."""
    until(lambda: name in run_folder.read_guard(appliance.run).get("answering", []))
    return appliance.running(name).pid


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


def send(listener: subprocess.Popen[bytes], name: str, payload: str) -> bytes:
    """Sends an event as supervisord does; what the listener says of it."""
    assert listener.stdin and listener.stdout
    head = f"ver:3.0 server:supervisor serial:1 pool:guard poolserial:1 eventname:{name}"
    listener.stdin.write(f"{head} len:{len(payload)}\n{payload}".encode())
    listener.stdin.flush()
    return listener.stdout.read(len(b"RESULT 2\nOKREADY\n"))


def test_its_stdout_is_the_protocol_and_its_log_lines_are_json_on_stderr(
    listener: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert listener.stdin and listener.stdout
    assert listener.stdout.read(6) == b"READY\n"
    assert send(listener, "TICK_5", "when:1201063880") == b"RESULT 2\nOKREADY\n"
    ended = "processname:tts groupname:tts from_state:RUNNING expected:0 pid:999999"
    assert send(listener, "PROCESS_STATE_EXITED", ended) == b"RESULT 2\nOKREADY\n"
    listener.stdin.close()  # supervisord has gone
    listener.stdin = None
    output, log = listener.communicate(timeout=PATIENCE_SECONDS)
    assert output == b""
    assert listener.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["event"] for line in lines] == ["guard started", "guard restarts process"]
    assert (lines[1]["program"], lines[1]["reason"]) == ("tts", "exited")
    told = run_folder.read_guard(tmp_path)
    assert told["last"]["program"] == "tts"
    assert told["actions"] == [{"action": "restart_process", "cause": "exited", "count": 1}]


def test_nonsense_on_its_stdin_ends_it_so_that_it_is_started_afresh(
    listener: subprocess.Popen[bytes],
) -> None:
    _, log = listener.communicate(b"nonsense\n", timeout=PATIENCE_SECONDS)
    assert listener.returncode == 70
    assert json.loads(log.splitlines()[-1])["error"] == "BadEvent"


def test_a_stop_signal_ends_it_as_a_success(listener: subprocess.Popen[bytes]) -> None:
    assert listener.stdout
    assert listener.stdout.read(6) == b"READY\n"
    listener.terminate()
    assert listener.wait(PATIENCE_SECONDS) == 0


def test_guard_with_a_wrong_setting_leaves_its_reason_for_boot(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "guard"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "VOICE_PATHS_RUN": str(tmp_path)}
        | {"SUPERVISOR_ENABLED": "1", "VOICE_SUPERVISION_CHECK_SECONDS": "0"},
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (78, b"")
    assert "VOICE_SUPERVISION_CHECK_SECONDS" in json.loads(done.stderr)["what"]
    assert str(run_folder.read_failure(tmp_path, "guard")).startswith(
        "The setting VOICE_SUPERVISION_"
    )


async def test_a_guard_that_supervisord_no_longer_speaks_to_ends_to_be_started_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "DEAF_SECONDS", 0.3)
    given = Settings(
        paths=PathsConfig(run=tmp_path), supervision=SupervisionConfig(check_seconds=0.1)
    )
    said: list[bytes] = []
    observer = Observer(given, ask_health)
    code = await guard.Guard(given, observer, said.append).run(asyncio.StreamReader())
    assert (code, said) == (guard.EXIT_DEAF, [b"READY\n"])


# With a real boot and supervisord.


@pytest.mark.parametrize(
    ("source", "cause"), [(dummies.SHORT_LIVED, "exited"), (dummies.SICK, "sick")]
)
def test_a_process_that_dies_every_two_seconds_ends_the_appliance(
    start: Start, source: str, cause: str
) -> None:
    appliance = start(
        {"gateway": dummies.WELL, "exporter": source},
        VOICE_SUPERVISION_MAX_RESTARTS="2",
    )
    assert appliance.ended() == 80
    assert appliance.reason()["reason"] == "restart_loop"
    assert "exporter was restarted 2 times" in appliance.reason()["what"]
    assert appliance.counts() == {
        ("restart_process", cause): 2,
        ("end_appliance", cause): 1,
    }


def test_an_engine_that_dies_again_takes_the_other_one_along(start: Start) -> None:
    appliance = start({"tts": dummies.WELL, "llm": dummies.SHORT_LIVED})
    first = well(appliance, "tts")
    counted(appliance, "restart_engines", "exited")
    until(lambda: appliance.running("tts").pid != first)
    assert appliance.counts()["restart_process", "exited"] == 2
    assert appliance.stop() == 0


def test_a_process_that_never_starts_ends_the_appliance(start: Start) -> None:
    appliance = start({"gateway": dummies.WELL, "tts": dummies.BROKEN})
    assert appliance.ended() == 70
    assert appliance.reason()["reason"] == "program_failed"
    assert appliance.counts()["end_appliance", "fatal"] == 1


def test_why_a_process_gave_up_is_known_though_the_guard_began_only_then(tmp_path: Path) -> None:
    run_folder.write_failure(tmp_path, "tts", MissingWeights(path="model.onnx"))
    given = Settings(paths=PathsConfig(run=tmp_path))
    late = guard.Guard(given, Observer(given, ask_health), lambda line: None)
    late._treat([late._with_reason(Symptom("fatal", "tts"))])
    assert str(run_folder.read_failure(tmp_path, "guard")).startswith("The model file model.onnx")
    again = guard.Guard(given, Observer(given, ask_health), lambda line: None)
    again._treat([Symptom("fatal", "gateway")])  # the verdict stands
    assert [it["cause"] for it in run_folder.read_guard(tmp_path)["actions"]] == ["refused"]


def test_an_engine_whose_model_was_sick_is_counted_so_once_and_its_next_end_is_another(
    tmp_path: Path,
) -> None:
    run_folder.write_failure(tmp_path, "llm", ModelSick(engine="llm"))
    given = Settings(paths=PathsConfig(run=tmp_path))
    one = guard.Guard(given, Observer(given, ask_health), lambda line: None)
    fatal = Symptom("fatal", "llm")
    assert one._with_reason(fatal) == fatal
    for _ in range(2):
        one._hear(Event("PROCESS_STATE_EXITED", {"processname": "llm", "pid": "0"}))
    told = run_folder.read_guard(tmp_path)["actions"]
    assert [(it["cause"], it["count"]) for it in told] == [("exited", 1), ("sick", 1)]


def test_what_a_process_left_that_died_while_it_loaded_is_swept_away(tmp_path: Path) -> None:
    given = Settings(paths=PathsConfig(run=tmp_path))
    one = guard.Guard(given, Observer(given, ask_health), lambda line: None)
    loading, child = started(PARENT)
    one._sights = {"llm": Sight("llm", "STARTING", loading.pid)}
    loading.kill()
    loading.wait()
    one._hear(Event("PROCESS_STATE_BACKOFF", {"processname": "llm", "tries": "1"}))
    until(lambda: gone(int(child)))


def test_a_process_that_has_gone_before_it_could_be_ended_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Settings(paths=PathsConfig(run=tmp_path))
    one = guard.Guard(given, Observer(given, ask_health), lambda line: None)
    ended = subprocess.Popen(["true"])
    ended.wait()
    one._sights = {"tts": Sight("tts", "RUNNING", ended.pid)}
    monkeypatch.setattr(psutil, "pid_exists", lambda pid: True)  # a moment before
    one._treat([Symptom("memory", "tts")])


def test_a_process_that_leaks_is_restarted_and_in_the_end_the_appliance(start: Start) -> None:
    appliance = start(
        {"gateway": dummies.WELL, "tts": dummies.LEAKING},
        VOICE_SUPERVISION_MAX_RESTARTS="1",
        VOICE_SUPERVISION_TTS_MEMORY_BYTES="200000000",
    )
    assert appliance.ended() == 83
    assert appliance.reason()["reason"] == "memory_grown"
    assert appliance.counts() == {
        ("restart_process", "memory"): 1,
        ("end_appliance", "memory"): 1,
    }


def test_a_frozen_process_is_killed_and_comes_back(start: Start) -> None:
    appliance = start({"gateway": dummies.WELL, "tts": dummies.WELL})
    other, frozen = well(appliance, "gateway"), well(appliance, "tts")
    os.kill(frozen, signal.SIGSTOP)
    counted(appliance, "restart_process", "silent")
    until(lambda: not psutil.pid_exists(frozen))
    assert well(appliance, "tts") != frozen
    until(lambda: run_folder.read_restarts(appliance.run)["tts"] == 1)
    assert appliance.running("gateway").pid == other
    assert appliance.counts() == {("restart_process", "silent"): 1}
    assert appliance.stop() == 0


def test_an_engine_may_load_for_long_but_not_for_ever(start: Start) -> None:
    appliance = start(
        {"tts": dummies.LOADING},
        VOICE_SUPERVISION_SILENT_SECONDS="1",
        VOICE_SUPERVISION_LOAD_SECONDS="5",
        VOICE_SUPERVISION_MAX_RESTARTS="0",
    )
    first = well(appliance, "tts")
    assert appliance.ended() == 82
    assert appliance.reason()["reason"] == "never_ready"
    assert appliance.counts() == {("end_appliance", "not_ready"): 1}
    assert not psutil.pid_exists(first)


def test_a_killed_guard_comes_back_and_goes_on_with_its_book(start: Start) -> None:
    appliance = start({"tts": dummies.WELL})
    os.kill(well(appliance, "tts"), signal.SIGKILL)
    counted(appliance, "restart_process", "exited")
    first = appliance.running("guard").pid
    os.kill(first, signal.SIGKILL)
    until(lambda: run_folder.read_restarts(appliance.run)["guard"] == 1)
    assert appliance.running("guard").pid != first
    os.kill(well(appliance, "tts"), signal.SIGKILL)
    counted(appliance, "restart_process", "exited", 2)
    assert appliance.stop() == 0


def test_a_frozen_guard_is_killed_and_comes_back(start: Start) -> None:
    appliance = start({"tts": dummies.WELL})
    until(lambda: run_folder.read_guard(appliance.run).get("beat"))
    first = appliance.running("guard").pid
    os.kill(first, signal.SIGSTOP)
    until(lambda: run_folder.read_restarts(appliance.run)["guard"] == 1)
    os.kill(well(appliance, "tts"), signal.SIGKILL)
    counted(appliance, "restart_process", "exited")
    assert not psutil.pid_exists(first)
    assert appliance.stop() == 0


def test_a_guard_that_cannot_be_kept_running_ends_the_appliance(start: Start) -> None:
    appliance = start({"tts": dummies.WELL}, VOICE_SUPERVISION_MAX_RESTARTS="0")
    os.kill(appliance.running("guard").pid, signal.SIGKILL)
    assert appliance.ended() == 80
    assert "guard" in appliance.reason()["what"]


def test_a_frozen_supervisord_ends_the_appliance_and_nothing_is_left(start: Start) -> None:
    appliance = start({"gateway": dummies.WELL, "tts": dummies.STUBBORN})
    pids = [appliance.running(name).pid for name in ("gateway", "tts", "guard")]
    supervisord = int((appliance.run / "supervisord.pid").read_text())
    os.kill(supervisord, signal.SIGSTOP)
    assert appliance.ended() == 71
    assert "did not answer" in appliance.reason()["what"]
    assert not any(psutil.pid_exists(pid) for pid in (*pids, supervisord))


LOST = """
import os
from tests.fakes import FakeNvml, NVML_L4

NVMLError = FakeNvml.NVMLError

def __getattr__(name):
    gone = os.path.exists(os.environ["VOICE_PATHS_RUN"] + "/card-lost")
    fake = FakeNvml(*(() if gone else (NVML_L4,)))
    fake.open = 1
    return getattr(fake, name)
"""


def test_a_lost_card_ends_the_appliance_where_something_runs_on_it(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "pynvml.py").write_text(LOST)
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    on_card = {"VOICE_TTS_BACKEND": "torch", "VOICE_TTS_DEVICE": "cuda"}
    appliance = start({"tts": dummies.WELL}, PYTHONPATH=path, **on_card)
    until(lambda: run_folder.read_guard(appliance.run).get("cards"))
    (appliance.run / "card-lost").touch()
    assert appliance.ended() == 84
    assert appliance.reason()["reason"] == "gpu_lost"
    assert appliance.counts() == {("end_appliance", "gpu_lost"): 1}
