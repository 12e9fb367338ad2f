"""Recordings with their texts, for measuring recognition, in sets. Needs the downloaded packages.

A set has one kind of speech and one condition (level, codec, noise). The same recordings always
give the same clips. Every clip has silence before and after the speech, as a gateway sends it.
"""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import soundfile  # type: ignore[import-untyped]
import soxr

from appliance.link.engine import INPUT_SAMPLE_RATE
from tests.voices import level
from tests.voices.clips import joined, silence
from tests.voices.recordings import Recordings, opus, scaled

LEAD_SECONDS = 0.3
TAIL_SECONDS = 0.3
NOISE = 1e-4  # of full scale, so that silence is not digital silence
LEVEL_DBFS = -20.0
PROMPTS = 150
MAX_SECONDS = 55.0  # an utterance has at most 60 s
PER_CONDITION = 30
LISTED = (
    "5555123",
    "999",
    "112",
    "0800111",
    "7777777",
    "1000",
    "88",
    "20222024",
    "4408",
    "3334445",
)
STRINGS = 20
# n, v, sixth, twelfth, twentieth, "new": heard as other words by Moonshine alone.
COMPACT_CORRECTED = ("n", "v", "digits/h-6", "digits/h-12", "digits/h-20", "vm-INBOX")
COMPACT_STRINGS = ("5555123", "999", "7777777", "20222024", "3334445", "999 please-try-again")
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Speech:
    """A clip and its words. `samples` are 16 kHz float32. `kind` is that of `spoken_words`."""

    name: str
    text: str
    samples: np.ndarray
    kind: str = "prose"


Sets = dict[str, list[Speech]]
T = TypeVar("T")


def plain_sets(recordings: Recordings) -> Sets:
    """Return the sets of undisturbed speech."""
    prompts = list(_prompts(recordings))
    return {
        "prompts 16 kHz": prompts,
        "prompts 8 kHz": [
            Speech(each.name, each.text, recordings.sound("en", each.name)) for each in prompts
        ],
        "prompts > 15 s": list(_long(recordings)),
        "librivox": list(_librivox(recordings)),
        "digits": list(_named(recordings, "digits", "digits")),
        "numbers": list(_numbers(recordings)),
        "digit strings": list(_digit_strings(recordings)),
        "letters": list(_letters(recordings)),
        "letters, others": list(_other_letters(recordings)),
        "spelled words": list(_spelled(recordings)),
        "phonetic": list(_named(recordings, "phonetic", "prose")),
        "ordinals": list(_ordinals(recordings)),
        "short phrases": list(_short(recordings)),
        "one word": list(_one_word(recordings)),
    }


def condition_sets(recordings: Recordings) -> Sets:
    """Return sets of some prompts with other levels, codecs, noises and rooms."""
    prompts = [each for each in _prompts(recordings) if len(each.samples) < 8 * INPUT_SAMPLE_RATE]
    prompts = prompts[:PER_CONDITION]
    found: Sets = {}
    for name, change in conditions(recordings).items():
        found[name] = [
            Speech(each.name, each.text, change(each.samples), each.kind) for each in prompts
        ]
    return found


Change = Callable[[np.ndarray], np.ndarray]


def compact_sets(recordings: Recordings) -> Sets:
    """Return at most 60 clips of several sets, for the test suite. Needs TEST_PACKAGES."""
    prompts = [each for each in _prompts(recordings) if len(each.samples) < 6 * INPUT_SAMPLE_RATE]
    quiet = [Speech(x.name, x.text, scaled(x.samples, -55.0)) for x in prompts[12:18]]
    offset = [Speech(x.name, x.text, _float(x.samples + 0.1)) for x in prompts[18:21]]
    return {
        "prompts": prompts[:10],
        "quiet, -55 dBFS": quiet,
        "DC offset 0.1": offset,
        "prompts > 10 s": first(
            [x for x in _prompts(recordings) if len(x.samples) > 10 * INPUT_SAMPLE_RATE], 2
        ),
        "digit strings": [x for x in _digit_strings(recordings) if x.name in COMPACT_STRINGS],
        "letters": [x for x in _letters(recordings) if x.name in "bjlmnoquy"],
        "one word": first(_one_word(recordings), 12),
        "short phrases": first(_short(recordings), 8),
        "corrected": [
            each
            for clips in (_letters, _ordinals, _one_word)
            for each in clips(recordings)
            if each.name in COMPACT_CORRECTED
        ],
    }


def conditions(recordings: Recordings) -> dict[str, Change]:
    """Return the changes of a clip, by name."""
    changes: dict[str, Change] = {}
    for dbfs in (-20, -30, -40, -50, -55, -60):
        changes[f"level {dbfs} dBFS"] = partial(scaled, dbfs=float(dbfs))
    changes["level -50 dBFS, hiss at -70"] = lambda x: with_noise(scaled(x, -50.0), -70.0)
    changes["DC offset 0.1"] = lambda x: _float(x + np.float32(0.1))
    changes["G.711"] = partial(_through, codec="ULAW")
    changes["GSM"] = partial(_through, codec="GSM610")
    changes["Opus 12 kbit/s"] = partial(opus, bits_per_second=12_000)
    for below_db in (20, 10, 5):
        changes[f"white noise {below_db} dB"] = partial(with_noise, dbfs=LEVEL_DBFS - below_db)
    voices = level.babble(recordings, 20.0, LEVEL_DBFS)
    for below_db in (20, 10):
        changes[f"babble {below_db} dB"] = partial(_over, voices, dbfs=LEVEL_DBFS - below_db)
    music = recordings.music()[0]
    changes["music 10 dB"] = partial(_over, music, dbfs=LEVEL_DBFS - 10)
    for seconds in (0.3, 0.5, 0.8):
        changes[f"room, RT {seconds} s"] = partial(in_room, seconds=seconds)
    hum = np.sin(2 * np.pi * 50 * np.arange(20 * INPUT_SAMPLE_RATE) / INPUT_SAMPLE_RATE)
    changes["hum 50 Hz at -30 dBFS"] = partial(_over, hum, dbfs=-30.0)
    changes["clipped by 12 dB"] = lambda x: np.clip(scaled(x, -8.0), -0.5, 0.5)
    return changes


def _over(sound: np.ndarray, samples: np.ndarray, dbfs: float) -> np.ndarray:
    """Add another sound at a level."""
    return _float(samples + scaled(sound[: len(samples)], dbfs))


def sounds(recordings: Recordings) -> dict[str, np.ndarray]:
    """Return sounds without words, some seconds each. A turn of one of them is false."""
    size, chance = 6 * INPUT_SAMPLE_RATE, np.random.default_rng(5)
    time = np.arange(size) / INPUT_SAMPLE_RATE
    found = {"digital silence": silence(6.0)}
    for dbfs in (-80, -65, -55, -45, -35, -25):
        found[f"white noise {dbfs} dBFS"] = scaled(_float(chance.normal(0, 1, size)), float(dbfs))
        brown = _float(np.convolve(chance.normal(0, 1, size), np.ones(40) / 40, "same"))
        found[f"low noise {dbfs} dBFS"] = scaled(brown, float(dbfs))
    for hertz in (50, 100, 425, 440, 1000, 2600):
        tone = _float(np.sin(2 * np.pi * hertz * time))
        found[f"tone {hertz} Hz"] = scaled(tone, -20.0)
        found[f"tone {hertz} Hz at -50"] = scaled(tone, -50.0)
        found[f"beep {hertz} Hz"] = np.concatenate(
            [silence(0.5), scaled(tone[:4800], -20.0), silence(0.5)]
        )
    for number, (low, high) in enumerate([(697, 1209), (770, 1336), (941, 1477)]):
        both = _float(np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time))
        digit = np.concatenate([scaled(both[:3200], -18.0), silence(0.1)])
        found[f"DTMF {number}"] = np.concatenate([silence(0.3), digit, digit, digit, silence(0.3)])
    found["ringing"] = scaled(level.ringing()[:size], -23.0)
    found["engaged"] = scaled(level.engaged()[:size], -23.0)
    sweep = np.sin(2 * np.pi * (200 * time + 150 * time**2))
    found["siren"] = scaled(_float(sweep), -20.0)
    for number in range(12):
        click = silence(1.5)
        click[8000 + 100 * number : 8000 + 100 * number + 30 * (number + 1)] = _float(
            chance.normal(0, 0.3, 30 * (number + 1))
        )
        found[f"click {number}"] = click
        burst = _float(chance.normal(0, 1, 1600 + 1200 * number))
        burst *= np.exp(-np.arange(len(burst)) / (600 + 200 * number))
        found[f"cough-like burst {number}"] = np.concatenate(
            [silence(0.3), scaled(burst, -20.0), silence(0.5)]
        )
    for piece, music in enumerate(recordings.music()):
        for start in range(0, min(len(music), 60 * INPUT_SAMPLE_RATE) - size, size):
            found[f"music {piece} at {start // INPUT_SAMPLE_RATE} s"] = music[start : start + size]
    for name in ("beep", "beeperr", "ascending-2tone", "descending-2tone"):
        found[name] = recordings.sound("en", name)
    for name in recordings.noises():
        found[f"tuxpaint {name}"] = recordings.noise(name)
    return found


def _float(samples: np.ndarray) -> np.ndarray:
    return np.asarray(samples, np.float32)


def as_sent(samples: np.ndarray) -> np.ndarray:
    """Return a clip with silence around it, a little noise, and the precision of int16."""
    padded = np.concatenate([silence(LEAD_SECONDS), samples, silence(TAIL_SECONDS)])
    noise = np.random.default_rng(1).normal(0, NOISE, len(padded))
    return np.asarray(np.clip(padded + noise, -1, 1) * 32767, "<i2")


def with_noise(samples: np.ndarray, dbfs: float) -> np.ndarray:
    """Add white noise at a level."""
    noise = np.random.default_rng(2).normal(0, 10 ** (dbfs / 20), len(samples))
    return np.asarray(samples + noise, np.float32)


def in_room(samples: np.ndarray, seconds: float) -> np.ndarray:
    """Add reverberation of noise that decays by 60 dB in `seconds`, as loud as the direct sound."""
    time = np.arange(round(seconds * INPUT_SAMPLE_RATE)) / INPUT_SAMPLE_RATE
    tail = np.random.default_rng(3).normal(0, 1, len(time)) * 10 ** (-3 * time / seconds)
    tail /= np.sqrt(np.sum(tail**2))
    tail[0] += 1
    size = len(samples) + len(tail)
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)
    return scaled(_float(wet), LEVEL_DBFS)


def _through(samples: np.ndarray, codec: str) -> np.ndarray:
    """Return what is left of a clip after a telephone codec at 8 kHz."""
    narrow = soxr.resample(samples, INPUT_SAMPLE_RATE, 8000)
    file = io.BytesIO()
    soundfile.write(file, np.clip(narrow, -1, 1), 8000, format="WAV", subtype=codec)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return _float(soxr.resample(decoded, 8000, INPUT_SAMPLE_RATE))


def _texts(recordings: Recordings) -> dict[str, str]:
    """Return the texts of the prompts that are only words."""
    return {
        name: text
        for name, text in recordings.prompts().items()
        if not name.startswith("silence/") and not re.search("[(<]", text)
    }


def _prompts(recordings: Recordings) -> Iterator[Speech]:
    """Prompts of 1 to 15 s with more than three words."""
    texts = _texts(recordings)
    names = [name for name, text in sorted(texts.items()) if len(text.split()) > 3]
    random.Random(15).shuffle(names)
    found = 0
    for name in names:
        samples = recordings.wide(name)
        if found < PROMPTS and 1 < len(samples) / INPUT_SAMPLE_RATE < 15:
            found += 1
            yield Speech(name, texts[name], scaled(samples, LEVEL_DBFS))


def _long(recordings: Recordings) -> Iterator[Speech]:
    for name, text in sorted(_texts(recordings).items()):
        if len(text.split()) > 30:
            samples = recordings.wide(name)
            if 15 < len(samples) / INPUT_SAMPLE_RATE < MAX_SECONDS:
                yield Speech(name, text, samples)


def _librivox(recordings: Recordings) -> Iterator[Speech]:
    for name, text, samples in recordings.librivox():
        yield Speech(name, text, samples)


def _named(recordings: Recordings, folder: str, kind: str) -> Iterator[Speech]:
    for name, text in sorted(_texts(recordings).items()):
        if re.fullmatch(rf"{folder}/(\d|[a-z]_p)", name):
            yield Speech(name, text, recordings.wide(name), kind)


def _numbers(recordings: Recordings) -> Iterator[Speech]:
    for name, text in sorted(_texts(recordings).items()):
        if re.fullmatch(r"digits/\d\d", name):
            yield Speech(name, text, recordings.wide(name))


def _ordinals(recordings: Recordings) -> Iterator[Speech]:
    for name, text in sorted(_texts(recordings).items()):
        if name.startswith("digits/h-"):
            yield Speech(name, text, recordings.wide(name))


def _digit_strings(recordings: Recordings) -> Iterator[Speech]:
    chance = random.Random(7)
    numbers = [*LISTED]
    numbers += ["".join(chance.choices("0123456789", k=7 + i % 4)) for i in range(STRINGS)]
    for number in numbers:
        yield Speech(
            number,
            " ".join(NAMES[int(digit)] for digit in number),
            joined([recordings.wide(f"digits/{digit}") for digit in number], 0.12),
            "digits",
        )
    for number, prompt in (("999", "please-try-again"), ("911", "calling"), ("22", "vm-goodbye")):
        parts = [recordings.wide(f"digits/{digit}") for digit in number]
        text = " ".join(NAMES[int(digit)] for digit in number)
        yield Speech(
            f"{number} {prompt}",
            f"{text} {_texts(recordings)[prompt]}",
            joined([*parts, recordings.wide(prompt)], 0.15),
            "digits",
        )


def _letters(recordings: Recordings) -> Iterator[Speech]:
    for letter in ALPHABET:
        yield Speech(letter, letter, recordings.wide(f"letters/{letter}"), "letters")


def _other_letters(recordings: Recordings) -> Iterator[Speech]:
    for speaker in ("en", "en_GB"):
        alphabet = recordings.letters(speaker)
        if len(alphabet) == len(ALPHABET):
            for letter, samples in zip(ALPHABET, alphabet, strict=True):
                yield Speech(f"{speaker} {letter}", letter, samples, "letters")


def _spelled(recordings: Recordings) -> Iterator[Speech]:
    chance = random.Random(9)
    for _ in range(STRINGS):
        letters = chance.sample(ALPHABET, 6)
        parts = [recordings.wide(f"letters/{letter}") for letter in letters]
        yield Speech("".join(letters), " ".join(letters), joined(parts, 0.2), "letters")


def _short(recordings: Recordings) -> Iterator[Speech]:
    for name, text in sorted(_texts(recordings).items()):
        if 2 <= len(text.split()) <= 3 and "/" not in name:
            yield Speech(name, text, recordings.wide(name))


def _one_word(recordings: Recordings) -> Iterator[Speech]:
    for name, text in sorted(_texts(recordings).items()):
        # The prompts "spy-" are names of protocols.
        word = len(text.split()) == 1 and "/" not in name and not name.startswith("spy-")
        if word or re.fullmatch(r"digits/(day-\d|mon-\d+|today|tomorrow|yesterday)", name):
            yield Speech(name, text, recordings.wide(name), "word")


def first(clips: Iterable[T], count: int | None) -> list[T]:
    """Return at most `count` clips, from the whole set."""
    found = list(clips)
    if count is None or count >= len(found):
        return found
    return [found[len(found) * index // count] for index in range(count)]
