"""Serve both engines in one process: python -m tests.bench.instant [--reply TEXT] RUN_FOLDER...

Both reply immediately, so the latency of a turn is the latency added by the pipeline.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

from appliance.link.protocol import HealthReport
from appliance.link.server import serve_link
from tests.fakes import InstantLLMEngine, InstantTTSEngine, InstantTTSSession

REPLY = (
    "This is an answer of about seven seconds. It has a second sentence, as most answers do, "
    "so that phrases follow one another."
)


class WholePhraseEngine(InstantTTSEngine):
    """Sends a phrase as one chunk, as the real engine does. Small chunks cost the gateway more."""

    def open(self) -> InstantTTSSession:
        return WholePhraseSession(self)


class WholePhraseSession(InstantTTSSession):
    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        parts = [part async for part in super().speak(text, voice, speed, urgent)]
        if parts:
            yield b"".join(parts)


async def serve(*folders: Path, reply: str = REPLY) -> None:
    """Serve both engines in each run folder until the process is terminated."""
    ready = HealthReport(ready=True)
    async with contextlib.AsyncExitStack() as serving:
        for folder in folders:
            speech = InstantLLMEngine(lambda *_: reply)
            voice = WholePhraseEngine()
            for engine in (speech, voice):
                path = folder / f"{engine.name}.sock"
                await serving.enter_async_context(serve_link(path, lambda: ready, engine))
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.instant", description=__doc__)
    parser.add_argument("--reply", default=REPLY, help="to every question")
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_FOLDER")
    args = parser.parse_args()
    asyncio.run(serve(*args.folders, reply=args.reply))


if __name__ == "__main__":
    main()
