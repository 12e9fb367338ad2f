"""python -m tests.bench.instant RUN_FOLDER: both engines, answering at once, as one process.

What is left of a turn's latency with them is what the pipeline itself adds.
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


class WholePhrases(InstantVoiceEngine):
    """Sends a phrase as the real engine does, in one piece: small ones cost the gateway more."""

    def open(self) -> InstantVoiceSession:
        return _WholePhrase(self)


class _WholePhrase(InstantVoiceSession):
    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        parts = [part async for part in super().speak(text, voice, speed, urgent)]
        if parts:
            yield b"".join(parts)


async def serve(folder: Path) -> None:
    """Until the process is ended."""
    ready = HealthReport(ready=True)
    speech = InstantSpeechEngine(lambda *_: REPLY)
    async with (
        serve_link(folder / "llm.sock", lambda: ready, speech),
        serve_link(folder / "tts.sock", lambda: ready, WholePhrases()),
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
