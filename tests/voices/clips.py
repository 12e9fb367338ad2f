"""Clips for turn taking, spliced from recordings. The same recordings give the same clips.

Each clip is one turn of a caller, so every end of a turn before the end of the clip is too early.
Clips of the part "tuned" were used to choose the constants of
`appliance/gateway/turns/endpointing.py`; clips of the part "reported" have other speakers or other
files. No person spells English in the part "tuned": voices of Kokoro do.
"""

from __future__ import annotations

import functools
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE
from tests.voices.bot import BotVoice
from tests.voices.recordings import Recordings, envelope_db, scaled, trimmed

COMPLETE = ("statement", "question", "word", "short phrase")
DICTATED = ("phone 200 ms", "phone 500 ms", "phone 700 ms", "letters 500 ms", "list 500 ms", "date")
PAUSED = ("between phrases", "in a phrase")
KINDS = (*COMPLETE, *DICTATED, *PAUSED)
TUNED_SPEAKERS = ("es", "fr", "de")
LETTER_SPEAKERS = ("en", "en_GB", "de", "fr", "it", "es")  # of klettres-data
SPELLING_VOICES = ("af_bella", "af_sarah", "am_adam", "am_fenrir", "bf_isabella", "bm_lewis")
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
STRINGS = 7  # of each kind, per speaker
PER_KIND = 40  # prompts of each kind and part, at most


@dataclass(frozen=True)
class Clip:
    """A turn of one caller. `samples` are 16 kHz float32, without silence around the speech."""

    name: str
    kind: str
    part: str
    samples: np.ndarray
    language: str = "en"


def clips(recordings: Recordings, bot: BotVoice | None = None) -> list[Clip]:
    """Return all clips; without `bot`, only those of human speakers."""
    synthetic = () if bot is None else _spelled_by_synthesis(bot)
    return [*_prompts(recordings), *_dictated(recordings), *synthetic]


def _part_of_file(name: str) -> str:
    return "tuned" if zlib.crc32(name.encode()) % 2 else "reported"


def _part_of_speaker(speaker: str) -> str:
    return "tuned" if speaker in TUNED_SPEAKERS else "reported"


def silence(seconds: float) -> np.ndarray:
    """Return digital silence."""
    return np.zeros(round(seconds * INPUT_SAMPLE_RATE), dtype=np.float32)


def joined(parts: list[np.ndarray], gap_seconds: float) -> np.ndarray:
    """Return the parts with pauses between them."""
    gap = silence(gap_seconds)
    return np.concatenate([x for part in parts for x in (part, gap)][:-1])


def _prompts(recordings: Recordings) -> Iterator[Clip]:
    count: dict[tuple[str, str], int] = {}
    sentences: dict[str, list[tuple[str, np.ndarray]]] = {"tuned": [], "reported": []}
    for name, text in sorted(recordings.prompts().items()):
        part, words = _part_of_file(name), text.split()
        samples = recordings.sound("en", name)
        seconds = len(samples) / INPUT_SAMPLE_RATE
        if text.endswith("?"):
            kind = "question"
        elif len(words) == 1 and "/" not in name:
            kind = "word"
        elif len(words) <= 3:
            kind = "short phrase"
        elif text[0].isupper() and text.endswith((".", "!")) and 1.2 < seconds < 6:
            kind = "statement"
        else:
            continue
        count[part, kind] = count.get((part, kind), 0) + 1
        if count[part, kind] <= PER_KIND:
            yield Clip(name, kind, part, samples)
        if kind == "statement":
            sentences[part].append((name, samples))
    for name in ("yes", "no", "hello", "goodbye", "digits/today", "digits/tomorrow"):
        if recordings.has("en", name):
            yield Clip(name, "word", _part_of_file(name), recordings.sound("en", name))
    for part, pool in sentences.items():
        for (first, one), (second, two) in zip(pool[:24:2], pool[1:24:2], strict=True):
            yield Clip(f"{first}+{second}", "between phrases", part, joined([one, two], 0.7))
        for name, samples in pool[:16]:
            cut = _quietest(samples)
            halves = [samples[:cut], samples[cut:]]
            yield Clip(name, "in a phrase", part, joined(halves, 0.7))


def _quietest(samples: np.ndarray) -> int:
    level = envelope_db(samples)
    start, end = len(level) * 3 // 10, len(level) * 7 // 10
    return int(start + np.argmin(level[start:end])) * (INPUT_SAMPLE_RATE // 100)


def _dictated(recordings: Recordings) -> Iterator[Clip]:
    for speaker in ("en", "es", "fr", "it", "ru"):
        part, chance = _part_of_speaker(speaker), random.Random(speaker)
        sound = functools.partial(recordings.sound, speaker)
        days = [f"digits/day-{n}" for n in range(7) if recordings.has(speaker, f"digits/day-{n}")]
        months = [f"digits/mon-{n}" for n in range(12)]
        letters = [x for x in ALPHABET if recordings.has(speaker, f"letters/{x}")]
        for number in range(STRINGS):
            digits = [sound(f"digits/{chance.randrange(10)}") for _ in range(10)]
            for gap in (0.2, 0.5, 0.7):
                kind = f"phone {gap * 1000:.0f} ms"
                yield Clip(f"{speaker} {number}", kind, part, joined(digits, gap), speaker)
            if len(letters) > 20:
                spelled = [sound(f"letters/{x}") for x in chance.sample(letters, 6)]
                yield Clip(
                    f"{speaker} {number}", "letters 500 ms", part, joined(spelled, 0.5), speaker
                )
            listed = [sound(x) for x in chance.sample(days, 4)]
            yield Clip(f"{speaker} {number}", "list 500 ms", part, joined(listed, 0.5), speaker)
            date = [chance.choice(days), chance.choice(months)]
            date += [f"digits/{chance.randint(1, 20)}", f"digits/{chance.randint(1, 12)}"]
            yield Clip(
                f"{speaker} {number}", "date", part, joined([sound(x) for x in date], 0.4), speaker
            )
    for speaker in LETTER_SPEAKERS:
        alphabet, chance = recordings.letters(speaker), random.Random(f"letters {speaker}")
        for number in range(STRINGS) if len(alphabet) >= 6 else ():
            spelled = chance.sample(alphabet, 6)
            name = f"klettres {speaker} {number}"
            yield Clip(
                name, "letters 500 ms", _part_of_speaker(speaker), joined(spelled, 0.5), speaker[:2]
            )


def _spelled_by_synthesis(bot: BotVoice) -> Iterator[Clip]:
    """Letters that are spoken one by one, so that each sounds like the last."""
    for voice in SPELLING_VOICES:
        chance = random.Random(f"letters {voice}")
        for number in range(STRINGS):
            spelled = [
                _at_microphone(bot.say(f"{letter.upper()}.", voice))
                for letter in chance.sample(ALPHABET, 6)
            ]
            yield Clip(f"{voice} {number}", "letters 500 ms", "tuned", joined(spelled, 0.5))


def _at_microphone(samples: np.ndarray) -> np.ndarray:
    """Return synthetic speech like a recording: level and rate of the microphone, no silence."""
    resampled = soxr.resample(samples, OUTPUT_SAMPLE_RATE, INPUT_SAMPLE_RATE)
    return scaled(trimmed(resampled))
