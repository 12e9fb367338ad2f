"""The command `say`: shows how a text is spoken, and writes the speech to a WAV file.

It uses the settings, the voice and the site's lexicon of the appliance, but no running process. The
text is cut into phrases as in a call, which the caller of `main` provides.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import wave
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

from appliance import site_lexicon
from appliance.engines.tts.engine import KokoroEngine
from appliance.engines.tts.reader import Reader, Reading
from appliance.engines.tts.synthesizer import FOLDER
from appliance.engines.tts.voices import Voices
from appliance.link.engine import OUTPUT_SAMPLE_RATE
from appliance.settings import Settings

STDOUT = "-"


def add_options(parser: ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("text", nargs="+", metavar="TEXT", help="what is to be spoken")
    parser.add_argument(
        "--wav",
        default="",
        metavar="FILE",
        help="also write the speech to this file; '-' is stdout, then the text is on stderr",
    )


def main(settings: Settings, phrases: Sequence[str], wav: str) -> int:
    """Print how a text is spoken: words and phonemes. Write the speech to `wav` unless it is ''.

    The phrases of the text are spoken one by one.

    The model runs on the CPU, so that the GPU's memory stays with the running engines. Returns the
    exit code: 1 if there is nothing to say or the file cannot be written. Raises BadLexicon,
    MissingWeights, BadSetting or UnknownVoice.
    """
    settings = dataclasses.replace(settings, tts=dataclasses.replace(settings.tts, device="cpu"))
    if not wav:
        reading = _read(settings, phrases)
        _print(reading, sys.stdout)
    else:
        reading, pcm = asyncio.run(_speak(settings, phrases))
        out = sys.stderr if wav == STDOUT else sys.stdout
        _print(reading, out)
        if wav == STDOUT:
            _write(sys.stdout.buffer, pcm)
        else:
            try:
                with Path(wav).open("wb") as file:
                    _write(file, pcm)
            except OSError as error:
                print(f"{wav}: {error.strerror}", file=sys.stderr)
                return 1
        print(f"speech    {len(pcm) / 2 / OUTPUT_SAMPLE_RATE:.1f} s", file=out)
    return 0 if reading.phonemes else 1


def _read(settings: Settings, phrases: Sequence[str]) -> Reading:
    weights = settings.paths.weights
    british = Voices(weights / FOLDER / "voices").british(settings.tts.voice)
    reader = Reader(weights, site_lexicon.read(settings.tts))
    return _joined(reader.read(phrase, british) for phrase in phrases)


def _joined(readings: Iterable[Reading]) -> Reading:
    spoken = [reading for reading in readings if reading.phonemes]
    return Reading(
        " ".join(reading.words for reading in spoken),
        " ".join(reading.phonemes for reading in spoken),
    )


async def _speak(settings: Settings, phrases: Sequence[str]) -> tuple[Reading, bytes]:
    engine = KokoroEngine(settings)
    await engine.start()
    try:
        reading = _joined(map(engine.read, phrases))
        session = engine.open()
        speed = settings.tts.speed
        parts = [
            part for phrase in phrases async for part in session.speak(phrase, "", speed, False)
        ]
    finally:
        await engine.stop()
    return reading, b"".join(parts)


def _print(reading: Reading, out: TextIO) -> None:
    if not reading.phonemes:
        print("nothing to say", file=out)
        return
    print(f"words     {reading.words}\nphonemes  {reading.phonemes}", file=out)


def _write(file: BinaryIO, pcm: bytes) -> None:
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(OUTPUT_SAMPLE_RATE)
        out.setnframes(len(pcm) // 2)  # a pipe cannot be corrected afterwards
        out.writeframesraw(pcm)
