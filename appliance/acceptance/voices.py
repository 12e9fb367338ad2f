"""The voices that speak the questions: none of them is the appliance's own.

An appliance that hears its own voice hears the clearest speech there is: other voices wait longer
for their answers. So the questions are spoken by espeak-ng, a program that the image already has
for phonemes, with two voices, and by recordings that a site mounts.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from appliance.link.engine import INPUT_SAMPLE_RATE
from client.errors import UsageError
from client.wav import decode_wav, read_wav

PROGRAM = "espeak-ng"
VOICES = ("en-us+f3", "en-us+m7")  # a woman's and a man's
# espeak-ng's default of 175 is faster than people speak to a machine. At 130, Moonshine tiny-en
# recognizes every question of these two voices; at 150 it takes m7's "Peter" for "Deader".
WORDS_PER_MINUTE = 130
PROGRAM_SECONDS = 20.0


class EspeakVoices:
    """Speaks with espeak-ng. The program runs once per voice and text."""

    def __init__(self, voices: tuple[str, ...] = VOICES, program: str = PROGRAM) -> None:
        self.voices = voices
        self._program = program
        self._pcm: dict[tuple[str, str], bytes] = {}

    def voice_of(self, turn: int) -> str:
        """Return the voice of a turn, counted from 0: the voices take turns."""
        return self.voices[turn % len(self.voices)]

    async def say(self, text: str, voice: str = "") -> bytes:
        """Return `text` as mono int16 PCM at 16 kHz, by default in the first voice.

        Raises UsageError if espeak-ng is missing or fails.
        """
        key = (voice or self.voices[0], text)
        if key not in self._pcm:
            self._pcm[key] = await self._synthesize(*key)
        return self._pcm[key]

    async def _synthesize(self, voice: str, text: str) -> bytes:
        command = (self._program, "--stdout", "-v", voice, "-s", str(WORDS_PER_MINUTE), text)
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
            async with asyncio.timeout(PROGRAM_SECONDS):
                out, problem = await process.communicate()
        except (OSError, TimeoutError) as error:
            raise UsageError(
                f"{self._program}, which speaks the questions, cannot run: {error or 'timeout'}"
            ) from error
        if process.returncode:
            reason = problem.decode(errors="replace").strip()
            raise UsageError(f"{self._program} cannot speak with the voice {voice}: {reason}")
        try:
            return decode_wav(out, INPUT_SAMPLE_RATE)
        except ValueError as error:
            raise UsageError(f"{self._program} wrote no usable WAV file: {error}") from error


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording of a person, as mono int16 PCM at 16 kHz, and the words that are said in it."""

    name: str
    text: str
    pcm: bytes


def read_recordings(folder: Path) -> list[Recording]:
    """Read the pairs NAME.wav and NAME.txt, in the order of their names.

    The WAV file may have any sample rate and channel count; the text is UTF-8.
    Raises UsageError if the folder has no pair, a file lacks its partner, or cannot be read.
    """
    sounds = {path.stem: path for path in folder.glob("*.wav")}
    texts = {path.stem: path for path in folder.glob("*.txt")}
    if not sounds:
        raise UsageError(f"{folder} has no recordings NAME.wav with their texts NAME.txt")
    if alone := sorted(sounds.keys() ^ texts.keys()):
        raise UsageError(f"{folder}: {alone[0]} needs both {alone[0]}.wav and {alone[0]}.txt")
    return [
        Recording(name, _read_text(texts[name]), read_wav(sounds[name])) for name in sorted(sounds)
    ]


def _read_text(path: Path) -> str:
    try:
        text = " ".join(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    if not text:
        raise UsageError(f"{path} is empty; it has to contain the words of the recording")
    return text
