"""Says a text into a WAV file: python -m appliance.engines.tts "text" out.wav [--voice V]."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import wave
from collections.abc import Mapping, Sequence

from appliance import journal, settings
from appliance.engines.tts.engine import KokoroEngine
from appliance.errors import ApplianceError
from appliance.link.engine import SPOKEN_RATE


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Returns the exit code; an error of the catalogue has its own."""
    arguments = argparse.ArgumentParser(prog="python -m appliance.engines.tts", description=__doc__)
    arguments.add_argument("text")
    arguments.add_argument("wav")
    arguments.add_argument("--voice", default="", help="voice or blend (default: the setting)")
    arguments.add_argument("--speed", type=float, default=1.0)
    asked = arguments.parse_args(argv)
    try:
        given = settings.load(environ)
        journal.configure(given.journal, "tts")
        pcm = asyncio.run(_say(given, asked.text, asked.voice, asked.speed))
    except ApplianceError as error:
        print(f"{error} {error.advice}", file=sys.stderr)
        return error.exit_code
    with wave.open(asked.wav, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SPOKEN_RATE)
        out.writeframes(pcm)
    print(f"{asked.wav}: {len(pcm) / 2 / SPOKEN_RATE:.2f} s")
    return 0


async def _say(given: settings.Settings, text: str, voice: str, speed: float) -> bytes:
    engine = KokoroEngine(given)
    await engine.start()
    session = engine.open()
    try:
        return b"".join([pcm async for pcm in session.speak(text, voice, speed, urgent=True)])
    finally:
        await session.close()
        await engine.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
