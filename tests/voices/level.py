"""Other voices: a speaker far from the microphone, babble, and a caller who moves away."""

from __future__ import annotations

import random

import numpy as np
from pipecat.audio.vad.vad_analyzer import VADState

from appliance.gateway.turns.level import CallerLevel
from appliance.gateway.turns.session_vad import SessionVAD
from appliance.link.engine import INPUT_SAMPLE_RATE
from tests.voices.clips import joined
from tests.voices.recordings import Recordings, scaled
from tests.voices.replay import FRAME_SECONDS, pcm_of

CALLER_DBFS = -23.0
NOISE_SECONDS = 60.0


def spoken(
    vad: SessionVAD, microphone: np.ndarray, level: CallerLevel | None
) -> list[tuple[float, float]]:
    """Return start and end of each speech that the VAD detects, in seconds."""
    vad.set_sample_rate(INPUT_SAMPLE_RATE)
    vad.caller_level = level
    pcm, size = pcm_of(microphone), round(FRAME_SECONDS * INPUT_SAMPLE_RATE) * 2
    found: list[tuple[float, float]] = []
    started: float | None = None
    now = 0.0
    for start in range(0, len(pcm) - size + 1, size):
        now = (start + size) / 2 / INPUT_SAMPLE_RATE
        speaking = vad._run_analyzer(pcm[start : start + size]) in (
            VADState.SPEAKING,
            VADState.STOPPING,
        )
        if speaking and started is None:
            started = now
        if not speaking and started is not None:
            found.append((started, now))
            started = None
    return found if started is None else [*found, (started, now)]


def sentences(recordings: Recordings, count: int, seed: int) -> list[np.ndarray]:
    """Return prompts of the English speaker, of 1.5 to 5 s."""
    names = [name for name, text in sorted(recordings.prompts().items()) if len(text.split()) > 4]
    random.Random(seed).shuffle(names)
    found = [recordings.sound("en", name) for name in names]
    return [x for x in found if 1.5 < len(x) / INPUT_SAMPLE_RATE < 5][:count]


def other_speaker(recordings: Recordings, dbfs: float) -> np.ndarray:
    """Return a minute of another speaker at a level."""
    names = ("agent-loginok", "conf-getpin", "vm-intro", "demo-congrats", "invalid", "conf-invalid")
    found = [recordings.sound("it", name) for name in names if recordings.has("it", name)]
    return scaled(joined(found * 4, 1.0)[: 60 * INPUT_SAMPLE_RATE], dbfs)


def babble(recordings: Recordings, seconds: float, dbfs: float) -> np.ndarray:
    """Return six speakers at once."""
    size = round(seconds * INPUT_SAMPLE_RATE)
    total = np.zeros(size)
    for number, language in enumerate(("en", "es", "fr", "it", "ru", "en")):
        names = [x for x in sorted(recordings.prompts()) if recordings.has(language, x)]
        random.Random(number).shuffle(names)
        parts, length = [], 0
        for name in names:
            if length >= size:
                break
            parts.append(recordings.sound(language, name))
            length += len(parts[-1])
        total += np.concatenate(parts)[:size]
    return scaled(total.astype(np.float32), dbfs)


def music(recordings: Recordings) -> list[np.ndarray]:
    """Return a minute of each piece of music on hold."""
    size = round(NOISE_SECONDS * INPUT_SAMPLE_RATE)
    return [piece[:size] for piece in recordings.music()]


def ringing() -> np.ndarray:
    """Return the ringing tone of ITU-T E.180: 425 Hz, 1 s of 5 s."""
    return _tone(1.0, 5.0)


def engaged() -> np.ndarray:
    """Return the engaged tone of ITU-T E.180: 425 Hz, 0.5 s of 1 s."""
    return _tone(0.5, 1.0)


def _tone(on_seconds: float, period_seconds: float) -> np.ndarray:
    time = np.arange(round(NOISE_SECONDS * INPUT_SAMPLE_RATE)) / INPUT_SAMPLE_RATE
    on = time % period_seconds < on_seconds
    return np.asarray(np.sin(2 * np.pi * 425 * time) * on, dtype=np.float32)
