"""The appliance that is drilled, callers who note what they are told, and the table at the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator

import numpy as np
import psutil
import pytest

from appliance.link.engine import OUTPUT_SAMPLE_RATE
from client import turns
from client.call import Arrival, ClientCall, connect
from client.config import Config
from client.conversation import Conversation
from client.record import ClientTurnRecord
from client.wav import read_wav
from client.wire import RTVIMessage
from tests.drills.leaking import FLAG
from tests.e2e.appliance import QUESTIONS, Appliance
from tests.recognizer import words

# So that what takes minutes in production takes seconds here; the shares stay the same.
HASTE = {
    "SUPERVISION_CHECK_SECONDS": "1",
    "SUPERVISION_SILENT_SECONDS": "8",
    "SUPERVISION_START_SECONDS": "3",
    "GATEWAY_DRAIN_SECONDS": "2",
    "LLM_RECOVER_SECONDS": "240",  # this, and the next, are for a machine that is busy
    "GATEWAY_MAX_ATTEMPTS_PER_MINUTE": "10000",
}
PATIENCE_SECONDS = 240.0  # a machine may be busy; nothing is asserted on time itself
_TABLE = pytest.StashKey[list[tuple[str, str]]]()


class Listening(ClientCall):
    """A call that notes the text of everything that was spoken to the caller, apologies too."""

    def __init__(self, call: ClientCall) -> None:
        self.__dict__.update(vars(call))
        self.spoken: list[str] = []

    async def arrivals(self) -> AsyncIterator[Arrival]:
        """The same as a call's."""
        async for arrival in super().arrivals():
            if isinstance(arrival.frame, RTVIMessage) and arrival.frame.type == "bot-tts-text":
                self.spoken.append(arrival.frame.text())
            yield arrival


class Caller(Conversation):
    """A caller; what they ask is the number of a question."""

    def __init__(self, call: Listening) -> None:
        super().__init__(call)
        self.told = call.spoken

    def asks(self, number: int) -> int:
        """Speaks the question; the number of the turn."""
        return self.say(read_wav(QUESTIONS[number]))

    async def answer(self, turn: int) -> ClientTurnRecord:
        """The turn, once it is over."""
        return await self.finished(turn, PATIENCE_SECONDS)


async def dial(appliance: Appliance) -> Caller:
    """Calls; tries again while nobody takes calls."""
    config = Config(url=appliance.url, token=appliance.token)
    return Caller(Listening(await connect(config, patience_seconds=PATIENCE_SECONDS)))


def heard(record: ClientTurnRecord) -> str:
    """What an independent recognizer makes of all that the caller heard in a turn."""
    return words(np.frombuffer(record.heard.pcm, "<i2"), OUTPUT_SAMPLE_RATE)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that must come; meanwhile nothing of the appliance may answer."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            # The exporter, or a process that is just ending, is not always there to be asked.
            with contextlib.suppress(AssertionError, OSError, psutil.NoSuchProcess):
                if await asyncio.to_thread(condition):
                    return
            await asyncio.sleep(0.2)


def acted(appliance: Appliance, action: str, cause: str) -> float:
    """How often the guard did this so far, by the page of metrics."""
    return appliance.metric(f'voice_guard_actions_total{{action="{action}",cause="{cause}"}}')


def restarts(appliance: Appliance, name: str) -> float:
    """How often this process was restarted so far, by the page of metrics."""
    return appliance.metric(f'voice_process_restarts_total{{process="{name}"}}')


class Stopwatch:
    """Notes for the table how long it took from the fault to each thing that mattered."""

    def __init__(self, table: list[tuple[str, str]], drill: str) -> None:
        self._table = table
        self._drill = drill
        self._began = time.monotonic()

    def strikes(self) -> None:
        """The fault happens now."""
        self._began = time.monotonic()

    def note(self, what: str, at: float | None = None) -> None:
        """So long after the fault this happened, now or `at`."""
        seconds = (at or time.monotonic()) - self._began
        self._table.append((self._drill, f"{what} after {seconds:.1f} s"))


@pytest.fixture
def stopwatch(request: pytest.FixtureRequest) -> Stopwatch:
    """One for this drill."""
    table = request.config.stash.setdefault(_TABLE, [])
    return Stopwatch(table, request.node.name.removeprefix("test_").replace("_", " "))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table of recoveries."""
    table = terminalreporter.config.stash.get(_TABLE, [])
    if table:
        terminalreporter.section("drills: time to recovery")
        for drill, what in table:
            terminalreporter.write_line(f"  {what:44} {drill}")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller waits for an engine as long as the appliance does."""
    monkeypatch.setattr(turns, "UNREPORTED_SECONDS", PATIENCE_SECONDS)


@pytest.fixture(scope="package")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """One for all drills that it survives; its tts leaks when the file LEAK appears."""
    settings = HASTE | {
        "SUPERVISION_MAX_RESTARTS": "100",
        "SUPERVISION_TTS_MEMORY_BYTES": "1200000000",
    }
    running = Appliance(tmp_path_factory.mktemp("drilled"), settings, "tests.drills.leaking")
    yield running.start()
    (running.run_folder / FLAG).unlink(missing_ok=True)
    assert running.stop() == 0, running.tail()


@pytest.fixture
def well(appliance: Appliance) -> Appliance:
    """The same, once it takes calls again."""
    appliance.wait_ready()
    return appliance
