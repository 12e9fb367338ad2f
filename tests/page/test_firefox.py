"""The page in Firefox ESR, against the real gateway with instant engines.

With a sound server, the microphone hears a recording and the loudspeaker is recorded. Firefox
connects a microphone only to an audio context of its own rate.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from client.wav import write_wav
from tests.e2e.desktop import MISSING, RATE, Desktop, desktop
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway, RunningGateway
from tests.page.firefox import Firefox, FirefoxTab
from tests.page.user import ANSWERS, LISTENING, NO_PROBLEM, ask, logged_in

LOCAL = ("about:", "chrome:", "data:", "blob:")  # no request over a network
QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def sound() -> Iterator[Desktop]:
    """A sound server with a virtual microphone and loudspeaker."""
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)}: not installed")
    with desktop() as running:
        yield running


@pytest.fixture
def firefox(sound: Desktop) -> Iterator[Firefox]:
    """A Firefox on that sound server."""
    running = Firefox(sound.environment)
    yield running
    running.stop()


@pytest.fixture
def silent_firefox(tmp_path: Path) -> Iterator[Firefox]:
    """A Firefox without any sound device."""
    running = Firefox(os.environ | {"PULSE_SERVER": f"unix:{tmp_path}/none"})
    yield running
    running.stop()


@contextlib.asynccontextmanager
async def signed_in(firefox: Firefox, gateway: RunningGateway) -> AsyncIterator[FirefoxTab]:
    """Log in. At the end: no error, no violation, and no request to another server."""
    async with firefox.tab() as tab:
        await tab.open(f"http://localhost:{gateway.port}/")
        await logged_in(tab)
        yield tab
        assert tab.errors == []
        assert await tab.evaluate("violations") == []
        sent = [urlsplit(url) for url in tab.requests if not url.startswith(LOCAL)]
        assert {url.netloc for url in sent} == {f"localhost:{gateway.port}"}


async def test_spoken_question_is_answered_and_heard_in_firefox(
    make_gateway: MakeGateway, firefox: Firefox, sound: Desktop, speak: Speak, tmp_path: Path
) -> None:
    wav, heard = tmp_path / "question.wav", tmp_path / "heard.raw"
    write_wav(wav, speak(QUESTION), RATE)
    async with (
        make_gateway(ScriptedLLM("It is Paris.")) as gateway,
        signed_in(firefox, gateway) as tab,
    ):
        await tab.click("#talk")
        await tab.wait_for("document.body.dataset.word === 'listening'")  # the microphone runs
        with sound.record(heard):
            sound.say(wav)
            await tab.wait_for(ANSWERS)
            await tab.wait_for(LISTENING)
        assert await tab.text("#captions .bot .words") == "It is Paris."
        assert np.abs(np.fromfile(heard, "<i2")).max() > 1_000
        assert await tab.evaluate(NO_PROBLEM)
        await tab.click("#talk")
        await gateway.wait_sessions_closed()


async def test_typed_question_is_answered_in_firefox_without_sound(
    make_gateway: MakeGateway, silent_firefox: Firefox
) -> None:
    async with (
        make_gateway(ScriptedLLM("It is Rome.")) as gateway,
        signed_in(silent_firefox, gateway) as tab,
    ):
        await ask(tab, "What is the capital of Italy?")
        await tab.wait_for(ANSWERS)
        assert await tab.text("#captions .bot .words") == "It is Rome."
        assert await tab.text("#problem .title") == "No microphone was found."
