"""What the appliance does not survive: how it ends, and what host and callers are told."""

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
from tests.drills.conftest import HASTE, Stopwatch, acted, dial, restarts, until
from tests.e2e.appliance import Appliance

Make = Callable[..., Appliance]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """`make(NAME="value")`: an appliance of a drill's own, not started, ended with the drill."""
    made: list[Appliance] = []

    def make(**settings: str) -> Appliance:
        made.append(Appliance(tmp_path, HASTE | settings))
        return made[-1]

    yield make
    for appliance in made:
        if appliance.is_running:
            appliance.stop()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def ends_with(appliance: Appliance, error: type[ApplianceError]) -> dict[str, str]:
    """Waits for the end by itself; what it left for the host."""
    assert appliance.ended() == error.exit_code, appliance.tail()
    reason: dict[str, str] = json.loads((appliance.run_folder / "reason.json").read_text())
    assert reason["reason"] == error.reason
    assert reason["advice"]
    assert appliance.lines()[-1]["exit_code"] == error.exit_code
    return reason


def ran(appliance: Appliance, name: str) -> int:
    """How often this process got beyond its start."""
    told = [line for line in appliance.lines() if line["event"] == "program running"]
    return [line["program"] for line in told].count(name)


@pytest.mark.parametrize(
    ("process", "settings", "error", "names"),
    [
        ("gateway", {"GATEWAY_PORT": "TAKEN"}, PortTaken, "TAKEN"),
        ("exporter", {"EXPORTER_PORT": "TAKEN"}, PortTaken, "TAKEN"),
        ("tts", {"TTS_BACKEND": "torch"}, MissingWeights, "kokoro"),
        ("llm", {"LLM_HEARING_MODEL": "not-here"}, BadSetting, "not-here"),
    ],
)
def test_a_process_that_refuses_to_start_ends_the_appliance_with_its_own_reason(
    make: Make,
    stopwatch: Stopwatch,
    taken: int,
    process: str,
    settings: dict[str, str],
    error: type[ApplianceError],
    names: str,
) -> None:
    given = {name: value.replace("TAKEN", str(taken)) for name, value in settings.items()}
    appliance = make(**given)
    appliance.launch()
    reason = ends_with(appliance, error)
    stopwatch.note("ended")
    assert names.replace("TAKEN", str(taken)) in reason["what"]
    (refusal,) = [line for line in appliance.lines() if line["event"] == "guard ends appliance"]
    assert (refusal["program"], refusal["reason"]) == (process, "refused")


async def test_a_process_that_dies_again_and_again_ends_the_appliance_and_callers_are_told(
    make: Make, stopwatch: Stopwatch
) -> None:
    appliance = make(SUPERVISION_MAX_RESTARTS="1").start()
    async with await dial(appliance) as caller:
        assert (await caller.answer(caller.asks(0))).outcome == "answered"
        victim = appliance.process("exporter")
        victim.kill()
        await until(lambda: acted(appliance, "restart_process", "exited") == 1)
        await until(lambda: ran(appliance, "exporter") == 2)
        assert restarts(appliance, "exporter") == 1
        appliance.process("exporter").kill()
        stopwatch.strikes()
        await until(lambda: isinstance(caller.failure, CallDropped))
        stopwatch.note("caller told")
        assert "restarting" in str(caller.failure)
    reason = ends_with(appliance, RestartLoop)
    stopwatch.note("ended")
    assert "exporter" in reason["what"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_an_appliance_whose_supervisor_is_lost_ends_so_that_the_host_starts_it_anew(
    make: Make, stopwatch: Stopwatch, how: signal.Signals
) -> None:
    appliance = make().start()
    processes = [appliance.process(name) for name in ("gateway", "llm", "tts", "exporter")]
    async with await dial(appliance) as caller:
        assert (await caller.answer(caller.asks(0))).outcome == "answered"
        os.kill(processes[0].ppid(), how)
        stopwatch.strikes()
        await until(lambda: isinstance(caller.failure, CallDropped))
        stopwatch.note("call ended")
    ends_with(appliance, SupervisorFailed)
    stopwatch.note("ended")
    assert not any(process.is_running() for process in processes)


@pytest.mark.parametrize(
    ("name", "value"),
    [("SUPERVISION_SILENT_SECONDS", "0"), ("TTS_SPEED", "3"), ("TTS_VOICE", "nobody")],
)
def test_wrong_setting_ends_the_appliance_before_a_process_starts(
    make: Make, name: str, value: str
) -> None:
    appliance = make(**{name: value})
    appliance.launch()
    assert appliance.ended() == BadSetting.exit_code, appliance.tail()
    (line,) = appliance.lines()
    assert (line["process"], line["reason"]) == ("boot", BadSetting.reason)
    assert f"VOICE_{name}" in line["what"]


async def test_nobody_notices_a_killed_guard(well: Appliance, stopwatch: Stopwatch) -> None:
    ended, victim = restarts(well, "guard"), well.process("guard")
    async with await dial(well) as caller:
        asked = caller.asks(0)
        victim.kill()
        stopwatch.strikes()
        assert (await caller.answer(asked)).outcome == "answered"
        await until(lambda: restarts(well, "guard") == ended + 1)
        await until(lambda: psutil.pid_exists(well.process("guard").pid))
        stopwatch.note("guard back")
