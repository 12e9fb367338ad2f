"""A conversation with the speech-LLM on the terminal: `python -m appliance.engines.llm FILE.wav ...`

Each file is one turn of the same conversation; an argument that names no file is typed text.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr  # type: ignore[import-untyped]

from appliance import journal, offline, settings
from appliance.engines.llm.small.engine import SmallEngine
from appliance.engines.llm.small.session import SmallSession
from appliance.errors import ApplianceError
from appliance.link.engine import HEARD_RATE, Result, Turn

PIECE_BYTES = 2 * HEARD_RATE * 40 // 1000  # 40 ms, as callers send it


def main() -> int:
    """Holds the conversation and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m appliance.engines.llm", description=__doc__)
    parser.add_argument("turns", nargs="+", metavar="FILE.wav|TEXT", help="what the user says")
    arguments = parser.parse_args()
    try:
        offline.apply(os.environ)
        given = settings.load(os.environ)
        journal.configure(given.journal, "llm")
        asyncio.run(converse(given, arguments.turns))
    except ApplianceError as error:
        print(f"{error}\n{error.advice}", file=sys.stderr)
        return error.exit_code
    return 0


async def converse(given: settings.Settings, turns: Sequence[str]) -> None:
    """Says the turns one after the other and prints what was heard and answered."""
    engine = SmallEngine(given)
    try:
        await engine.start()
        session = engine.open()
        conversation = [Turn("system", given.llm.system_prompt)]
        for number, said in enumerate(turns):
            path = Path(said)
            if path.is_file():
                conversation.append(await speak(session, conversation, number, path))
                print(f"\nuser (heard): {await session.transcribe(number)}")
            else:
                conversation.append(Turn("user", said))
                print(f"\nuser (typed): {said}")
            reply = await answer(session, conversation, given.llm)
            conversation.append(Turn("assistant", reply))
        await session.close()
    finally:
        await engine.stop()


async def speak(
    session: SmallSession, conversation: Sequence[Turn], number: int, path: Path
) -> Turn:
    """Lets the session hear a file as it would hear a caller."""
    pcm = read_wav(path)
    turn = Turn("user", utterance=number)
    session.begin(number)
    for start in range(0, len(pcm), PIECE_BYTES):
        session.hear(number, pcm[start : start + PIECE_BYTES])
    await session.warm([*conversation, turn])  # as the gateway does at a pause
    session.end(number)
    return turn


async def answer(session: SmallSession, conversation: Sequence[Turn], given: settings.LLM) -> str:
    """Prints the answer while it comes, then what it took; returns it."""
    print("assistant:    ", end="", flush=True)
    pieces = []
    async for item in session.generate(conversation, given.reply_tokens, given.temperature):
        if isinstance(item, Result):
            figures = ", ".join(f"{name} {value:.3g}" for name, value in item.stats.items())
            print(f"\n  ({item.reason}; {figures})")
        elif isinstance(item, str):
            pieces.append(item)
            print(item, end="", flush=True)
    return "".join(pieces)


def read_wav(path: Path) -> bytes:
    """A 16-bit WAV file of any rate as 16 kHz mono int16."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        samples = samples.reshape(-1, file.getnchannels()).mean(axis=1).astype(np.int16)
        rate = file.getframerate()
    return bytes(soxr.resample(samples, rate, HEARD_RATE).astype("<i2").tobytes())


if __name__ == "__main__":
    sys.exit(main())
