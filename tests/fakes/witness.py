"""Engines that show what a call lost on its way: python -m tests.fakes.witness RUN_FOLDER.

The model says whether it heard all of a question, and the voice makes audio of which every sample
has its own place. Both answer at once, and run in a process of their own, as real engines do.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import zlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import numpy as np

from appliance.link.engine import OUTPUT_SAMPLE_RATE, ChatMessage
from appliance.link.protocol import HealthReport
from appliance.link.server import serve_link
from client.wav import read_wav
from tests.fakes.audio import contains, middle_of
from tests.fakes.engines import (
    InstantLLMEngine,
    InstantTTSEngine,
    InstantTTSSession,
    question_audio,
)

QUESTIONS = sorted((Path(__file__).parents[2] / "client" / "questions").glob("*.wav"))
# Each of these sentences is a phrase of its own; the gateway splits longer ones.
HEARD_ALL = ("I heard all of it.", "It was about France.", "I do not know the answer.")
HEARD_A_PART = ("Something of it was missing.",)
HEARD_TEXT = ("You wrote to me.", "I do not know the answer.")
READY = HealthReport(ready=True)
SECONDS_PER_CHARACTER = 0.06
PERIOD = 20_011  # a prime, so that chunks of the same length differ


def reply(conversation: Sequence[ChatMessage], heard: dict[int, bytes]) -> str:
    """Say whether the last question was heard whole."""
    if conversation[-1].utterance is None:
        return " ".join(HEARD_TEXT)
    audio = question_audio(conversation, heard)
    whole = any(contains(audio, middle_of(read_wav(each))) for each in QUESTIONS)
    return " ".join(HEARD_ALL if whole else HEARD_A_PART)


def voice(text: str) -> bytes:
    """Return the audio of a phrase: a ramp that starts at a place of its own."""
    count = round(len(text) * SECONDS_PER_CHARACTER * OUTPUT_SAMPLE_RATE)
    ramp = (np.arange(count) + zlib.crc32(text.encode())) % PERIOD - PERIOD // 2
    return ramp.astype("<i2").tobytes()


class WitnessVoice(InstantTTSEngine):
    """Speaks with `voice`, a phrase as one chunk."""

    def open(self) -> InstantTTSSession:
        return _Session(self)


class _Session(InstantTTSSession):
    async def speak(
        self, text: str, voice_name: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        yield voice(text)


async def serve(run: Path) -> None:
    """Serve both engines in a run folder until the process is terminated."""
    async with contextlib.AsyncExitStack() as serving:
        for engine in (InstantLLMEngine(reply), WitnessVoice()):
            path = run / f"{engine.name}.sock"
            await serving.enter_async_context(serve_link(path, lambda: READY, engine))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
