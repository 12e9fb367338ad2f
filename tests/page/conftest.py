"""The gateway whose page the tests open, with instant engines, and the browsers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from client.wav import write_wav
from client.wire import MIC_SAMPLE_RATE
from tests.gateway.espeak import Speak, speak
from tests.gateway.running_gateway import make_gateway, turn_models
from tests.page.chromium import Browser
from tests.page.files import served

__all__ = ["make_gateway", "speak", "turn_models"]

QUESTION = "What is the capital of France?"
INSECURE_HOST = "appliance.test"  # not localhost, so without TLS it is no secure context


@pytest.fixture(scope="session")
def page_url() -> Iterator[str]:
    """The address of the page without a gateway."""
    with served() as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser without a microphone, which knows this machine by another name, too."""
    running = Browser(None, f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def question(speak: Speak, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a microphone hears: the question once, 2 s after it was opened. Then silence."""
    silence = np.zeros(2 * MIC_SAMPLE_RATE, "<i2").tobytes()
    wav = tmp_path_factory.mktemp("microphone") / "question.wav"
    write_wav(wav, silence + speak(QUESTION) + 10 * silence, MIC_SAMPLE_RATE)
    return Path(f"{wav}%noloop")


@pytest.fixture(scope="session")
def speaking_browser(question: Path) -> Iterator[Browser]:
    """A browser whose microphones hear the question once.

    Chromium's fake devices are several microphones and loudspeakers.
    """
    running = Browser(question)
    yield running
    running.stop()
