"""Faults that the appliance does not survive: how it ends, and what host and callers learn."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from appliance.errors import (
    ApplianceError,
    BadSetting,
    MissingWeights,
    PortTaken,
    RestartLoop,
    SupervisorFailed,
)
from client.errors import CallDropped
from tests.drills.conftest import (
    SHORT_INTERVALS,
    Stopwatch,
    dial,
    guard_actions,
    restarts,
    wait_until,
)
from tests.e2e.appliance import Appliance

Make = Callable[..., Appliance]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """`make(NAME="value")`: an appliance for one drill, not started; stopped after the drill."""
    appliances: list[Appliance] = []

    def make(**settings: str) -> Appliance:
        appliances.append(Appliance(tmp_path, SHORT_INTERVALS | settings))
        return appliances[-1]

    yield make
    for appliance in appliances:
        if appliance.is_running:
            appliance.stop()


@pytest.fixture
def used_port() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def wait_for_end(appliance: Appliance, error: type[ApplianceError]) -> dict[str, str]:
    """Wait until it has ended itself with this error; the reason that it recorded for the host."""
    assert appliance.ended() == error.exit_code, appliance.tail()
    reason: dict[str, str] = json.loads((appliance.run_folder / "reason.json").read_text())
    assert reason["reason"] == error.reason
    assert reason["advice"]
    assert appliance.lines()[-1]["exit_code"] == error.exit_code
    return reason


def successful_starts(appliance: Appliance, name: str) -> int:
    """How often this process reached the state RUNNING."""
    running = [line for line in appliance.lines() if line["event"] == "program running"]
    return [line["program"] for line in running].count(name)


@pytest.mark.parametrize(
    ("process", "settings", "error", "culprit"),
    [
        ("gateway", {"GATEWAY_PORT": "PORT"}, PortTaken, "PORT"),
        ("exporter", {"EXPORTER_PORT": "PORT"}, PortTaken, "PORT"),
        ("tts", {"TTS_BACKEND": "torch"}, MissingWeights, "kokoro"),
        ("llm", {"LLM_HEARING_MODEL": "not-here"}, BadSetting, "not-here"),
    ],
)
def test_process_that_refuses_to_start_shuts_the_appliance_down_with_its_reason(
    make: Make,
    stopwatch: Stopwatch,
    used_port: int,
    process: str,
    settings: dict[str, str],
    error: type[ApplianceError],
    culprit: str,
) -> None:
    port = str(used_port)
    appliance = make(**{name: value.replace("PORT", port) for name, value in settings.items()})
    appliance.launch()
    reason = wait_for_end(appliance, error)
    stopwatch.record("ended")
    assert culprit.replace("PORT", port) in reason["what"]
    (refusal,) = [line for line in appliance.lines() if line["event"] == "guard ends appliance"]
    assert (refusal["program"], refusal["reason"]) == (process, "refused")


async def test_process_that_keeps_dying_shuts_the_appliance_down_and_closes_calls_first(
    make: Make, stopwatch: Stopwatch
) -> None:
    appliance = make(SUPERVISION_MAX_RESTARTS="1").start()
    async with await dial(appliance) as caller:
        assert (await caller.answer(caller.say_question(0))).outcome == "answered"
        victim = appliance.process("exporter")
        victim.kill()
        await wait_until(lambda: guard_actions(appliance, "restart_process", "exited") == 1)
        await wait_until(lambda: successful_starts(appliance, "exporter") == 2)
        assert restarts(appliance, "exporter") == 1
        appliance.process("exporter").kill()
        stopwatch.start()
        await wait_until(lambda: isinstance(caller.failure, CallDropped))
        stopwatch.record("caller informed")
        assert "restarting" in str(caller.failure)
    reason = wait_for_end(appliance, RestartLoop)
    stopwatch.record("ended")
    assert "exporter" in reason["what"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_loss_of_supervisord_shuts_the_appliance_down_for_a_restart_by_the_host(
    make: Make, stopwatch: Stopwatch, how: signal.Signals
) -> None:
    appliance = make().start()
    processes = [appliance.process(name) for name in ("gateway", "llm", "tts", "exporter")]
    async with await dial(appliance) as caller:
        assert (await caller.answer(caller.say_question(0))).outcome == "answered"
        os.kill(processes[0].ppid(), how)
        stopwatch.start()
        await wait_until(lambda: isinstance(caller.failure, CallDropped))
        stopwatch.record("call ended")
    wait_for_end(appliance, SupervisorFailed)
    stopwatch.record("ended")
    assert not any(process.is_running() for process in processes)


@pytest.mark.parametrize(
    ("name", "value"),
    [("SUPERVISION_SILENT_SECONDS", "0"), ("TTS_SPEED", "3"), ("TTS_VOICE", "nobody")],
)
def test_wrong_setting_shuts_the_appliance_down_before_a_process_starts(
    make: Make, name: str, value: str
) -> None:
    appliance = make(**{name: value})
    appliance.launch()
    assert appliance.ended() == BadSetting.exit_code, appliance.tail()
    (line,) = appliance.lines()
    assert (line["process"], line["reason"]) == ("boot", BadSetting.reason)
    assert f"VOICE_{name}" in line["what"]


async def test_callers_do_not_notice_a_killed_guard(ready: Appliance, stopwatch: Stopwatch) -> None:
    ended, victim = restarts(ready, "guard"), ready.process("guard")
    async with await dial(ready) as caller:
        turn = caller.say_question(0)
        victim.kill()
        stopwatch.start()
        assert (await caller.answer(turn)).outcome == "answered"
        await wait_until(lambda: restarts(ready, "guard") == ended + 1)
        await wait_until(lambda: psutil.pid_exists(ready.process("guard").pid))
        stopwatch.record("guard back")
