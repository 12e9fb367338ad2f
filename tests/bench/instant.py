"""python -m tests.bench.instant RUN_FOLDER: both engines in one process; they answer at once.

A turn's latency with them is the latency that the pipeline itself adds.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

from appliance.link.protocol import HealthReport
from appliance.link.server import serve_link
from tests.fakes import InstantSpeechEngine, InstantVoiceEngine, InstantVoiceSession

REPLY = (
    "This is an answer of about five seconds. It has a second sentence, as most answers do, "
    "so that phrases follow one another."
)


class WholePhraseEngine(InstantVoiceEngine):
    """Sends a phrase in one piece, as the real engine does: small pieces cost the gateway more."""

    def open(self) -> InstantVoiceSession:
        return WholePhraseSession(self)


class WholePhraseSession(InstantVoiceSession):
    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        parts = [part async for part in super().speak(text, voice, speed, urgent)]
        if parts:
            yield b"".join(parts)


async def serve(folder: Path) -> None:
    """Serve both engines until the process is ended."""
    ready = HealthReport(ready=True)
    speech = InstantSpeechEngine(lambda *_: REPLY)
    async with (
        serve_link(folder / "llm.sock", lambda: ready, speech),
        serve_link(folder / "tts.sock", lambda: ready, WholePhraseEngine()),
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
