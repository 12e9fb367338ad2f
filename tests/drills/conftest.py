"""The appliance under test, its callers, and the stopwatch of the recovery times."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest

from appliance.link.engine import OUTPUT_SAMPLE_RATE
from client import turns
from client.call import connect
from client.config import Config
from client.conversation import Conversation
from client.record import ClientTurnRecord
from client.wav import read_wav
from tests.conftest import FAST, RECOVERY
from tests.drills.leaking import FLAG
from tests.e2e.appliance import QUESTIONS, Appliance
from tests.recognizer import words

# Short intervals, so that faults are handled in seconds instead of minutes.
SHORT_INTERVALS = FAST | {
    "SUPERVISION_CHECK_SECONDS": "1",
    "SUPERVISION_SILENT_SECONDS": "8",
    "SUPERVISION_START_SECONDS": "3",
    "GATEWAY_DRAIN_SECONDS": "2",
    "LLM_RECOVER_SECONDS": "240",  # for a busy machine, like the next one
    "GATEWAY_MAX_ATTEMPTS_PER_MINUTE": "10000",
}
HOLD_WORDS = {"one", "moment", "please"}
TIMEOUT_SECONDS = 240.0  # for a busy machine; no drill asserts a duration


class DrillCaller(Conversation):
    """A caller that speaks numbered questions."""

    async def __aenter__(self) -> DrillCaller:
        await super().__aenter__()
        return self

    def say_question(self, question: int) -> int:
        """Speak a question; returns the number of the turn."""
        return self.say(read_wav(QUESTIONS[question]))

    async def answer(self, turn: int) -> ClientTurnRecord:
        """Wait until the turn has ended."""
        return await self.finished(turn, TIMEOUT_SECONDS)


async def dial(appliance: Appliance) -> DrillCaller:
    """Start a call; retries while the appliance takes none."""
    config = Config(url=appliance.url, token=appliance.token)
    return DrillCaller(await connect(config, retry_seconds=TIMEOUT_SECONDS))


def recognized(record: ClientTurnRecord) -> str:
    """What an independent recognizer understands of the audio that the caller heard in a turn."""
    return words(np.frombuffer(record.heard.pcm, "<i2"), OUTPUT_SAMPLE_RATE)


def assert_spoken(record: ClientTurnRecord, word: str) -> None:
    """Assert that the reply holds a word, and that more than the hold message was heard.

    Which word was heard is not compared: the recognizer takes a single "Paris." for "Here is".
    """
    assert word in record.reply_text.casefold()
    assert set(recognized(record).casefold().split()) - HOLD_WORDS


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, even while the appliance does not answer."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            # The exporter may be down, or a process may be ending.
            with contextlib.suppress(AssertionError, OSError, psutil.NoSuchProcess):
                if await asyncio.to_thread(condition):
                    return
            await asyncio.sleep(0.2)


def guard_actions(appliance: Appliance, action: str, cause: str) -> float:
    """How often the guard has done this, according to the metrics."""
    return appliance.metric(f'voice_guard_actions_total{{action="{action}",cause="{cause}"}}')


def restarts(appliance: Appliance, name: str) -> float:
    """How often this process was restarted, according to the metrics."""
    return appliance.metric(f'voice_process_restarts_total{{process="{name}"}}')


class Stopwatch:
    """Records how long after the fault each event happened; pytest's summary lists the times."""

    def __init__(self, drill: pytest.Item) -> None:
        self._drill = drill
        self._start = time.monotonic()

    def start(self) -> None:
        """The fault happens now."""
        self._start = time.monotonic()

    def record(self, event: str, at: float | None = None) -> None:
        """An event happened now, or at a monotonic time."""
        seconds = (at or time.monotonic()) - self._start
        self._drill.user_properties.append((RECOVERY, f"{event} after {seconds:.1f} s"))


@pytest.fixture
def stopwatch(request: pytest.FixtureRequest) -> Stopwatch:
    """The stopwatch of this drill."""
    return Stopwatch(request.node)


@pytest.fixture(autouse=True)
def patient_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client wait for an engine as long as the appliance does."""
    monkeypatch.setattr(turns, "UNREPORTED_SECONDS", TIMEOUT_SECONDS)


@pytest.fixture(scope="package")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Shared by all drills that it survives; its tts leaks once the file FLAG exists."""
    settings = SHORT_INTERVALS | {
        "SUPERVISION_MAX_RESTARTS": "100",
        "SUPERVISION_TTS_MEMORY_BYTES": "1200000000",
    }
    running = Appliance(tmp_path_factory.mktemp("drilled"), settings, "tests.drills.leaking")
    yield running.start()
    (running.run_folder / FLAG).unlink(missing_ok=True)
    assert running.stop() == 0, running.tail()


@pytest.fixture
def ready(appliance: Appliance) -> Appliance:
    """The shared appliance, once it takes calls again."""
    appliance.wait_ready()
    return appliance
