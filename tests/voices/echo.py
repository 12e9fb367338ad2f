"""The bot's voice in the microphone: how often it is taken for a caller, and callers over it.

The bot's audio is mixed into the microphone with a delay, through a filter like a room's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr
from pipecat.audio.vad.vad_analyzer import VADState

from appliance.gateway.turns.echo import EchoDetector
from appliance.gateway.turns.session_vad import SessionVAD
from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE
from tests.voices.replay import pcm_of

DELAYS_SECONDS = (0.05, 0.15, 0.4)
LEVELS_DB = (0, -12, -20, -30)  # of the echo in the microphone, relative to the sent audio
JUMP_SECONDS = 0.04
CHUNK_SECONDS = 0.04
LEAD_SECONDS = 0.2  # audio is sent this long before its playback
STEADY_SECONDS = 5.0  # before the audio stutters
PIECE_SECONDS = (0.04, 0.2)  # that is sent and played without a gap, while the audio stutters
LATE_SECONDS = (0.04, 0.25)  # by which the next piece is late
BUFFER_SECONDS = (0.04, 0.12)  # delay of the client's buffer, which has run dry
BARGE_IN_SECONDS = 4.0  # the first caller speaks this long after the bot has begun
BARGE_IN_STEP_SECONDS = 1.0  # each next caller speaks this much later


def room(
    samples: np.ndarray, seconds: float = 0.25, reverberation_db: float = 0.0, seed: int = 1
) -> np.ndarray:
    """Return samples as in a room: a direct path, and noise that decays by 60 dB in `seconds`.

    reverberation_db  energy of the noise, relative to the direct path
    """
    size = round(seconds * INPUT_SAMPLE_RATE)
    chance = np.random.default_rng(seed)
    tail = chance.normal(0, 1, size) * 10 ** (-3 * np.arange(size) / size)
    tail *= 10 ** (reverberation_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return np.convolve(samples, tail)[: len(samples)]


@dataclass(frozen=True)
class Heard:
    """What the detector heard of one call. Times are in seconds of the call.

    starts        times at which speech was detected
    cpu_seconds   of the echo detector, for `seconds` of audio
    """

    starts: tuple[float, ...]
    seconds: float
    cpu_seconds: float

    @property
    def starts_a_minute(self) -> float:
        """Return the rate of the starts."""
        return 60 * len(self.starts) / self.seconds

    @property
    def cpu_percent(self) -> float:
        """Return the load of one core, in percent."""
        return 100 * self.cpu_seconds / self.seconds


Schedule = list[tuple[float, float, np.ndarray]]  # sent at, plays at, samples


def steady(sent: np.ndarray) -> Schedule:
    """Return the chunks of audio (24 kHz int16) that is sent without a gap."""
    step = round(CHUNK_SECONDS * OUTPUT_SAMPLE_RATE)
    starts = range(0, len(sent), step)
    return [
        (at / OUTPUT_SAMPLE_RATE - LEAD_SECONDS, at / OUTPUT_SAMPLE_RATE, sent[at : at + step])
        for at in starts
    ]


def stuttering(
    sent: np.ndarray, delay_seconds: float, level_db: float, seed: int = 1
) -> tuple[Schedule, np.ndarray]:
    """Return audio of an overloaded appliance, and its echo in a microphone of 16 kHz.

    After `STEADY_SECONDS`, each piece is sent late, so the client's buffer runs dry.
    """
    chance = np.random.default_rng(seed)
    rate, step = OUTPUT_SAMPLE_RATE, round(CHUNK_SECONDS * OUTPUT_SAMPLE_RATE)
    schedule: Schedule = []
    played = np.zeros(3 * len(sent), np.float32)
    begins, position, buffered = 0.0, 0, 0.08
    while position < len(sent):
        size = round((chance.uniform(*PIECE_SECONDS) if position else STEADY_SECONDS) * rate)
        piece = sent[position : position + size]
        for at in range(0, len(piece), step):
            plays_at = begins + at / rate
            lead = plays_at - LEAD_SECONDS
            schedule.append((max(lead, begins), plays_at, piece[at : at + step]))
        place = round((begins + buffered) * rate)
        played[place : place + len(piece)] = piece
        position += len(piece)
        begins += len(piece) / rate + chance.uniform(*LATE_SECONDS)
        buffered = chance.uniform(*BUFFER_SECONDS)
    return schedule, at_microphone(played[: round(begins * rate)], delay_seconds, level_db)


def call(
    vad: SessionVAD,
    detector: EchoDetector | None,
    schedule: Schedule,
    microphone: np.ndarray,
) -> Heard:
    """Send audio (24 kHz int16) while `microphone` (16 kHz float) arrives. Both begin at 0 s."""
    vad.set_sample_rate(INPUT_SAMPLE_RATE)
    vad.is_bot_busy = lambda: True  # it speaks, so that speech starts after vad_interrupt_seconds
    pcm, size = pcm_of(microphone), round(CHUNK_SECONDS * INPUT_SAMPLE_RATE) * 2
    spent, now, number = 0.0, 100.0, 0
    speaking, starts = False, []

    def is_echo(window: bytes, voice: bool) -> bool:
        nonlocal spent
        assert detector is not None
        begun = time.process_time()
        echo = detector.is_echo(window, now, voice)
        spent += time.process_time() - begun
        return echo

    if detector is not None:
        vad.is_echo = is_echo
    for start in range(0, len(pcm) - size + 1, size):
        now = 100.0 + (start + size) / 2 / INPUT_SAMPLE_RATE
        while detector is not None and number < len(schedule):
            sent_at, plays_at, chunk = schedule[number]
            if 100.0 + sent_at > now:
                break
            begun = time.process_time()
            detector.sent(chunk.tobytes(), 100.0 + plays_at)
            spent += time.process_time() - begun
            number += 1
        state = vad._run_analyzer(pcm[start : start + size])
        if state in (VADState.SPEAKING, VADState.STOPPING) and not speaking:
            starts.append(now - 100.0)
        speaking = state in (VADState.SPEAKING, VADState.STOPPING)
    return Heard(tuple(starts), len(microphone) / INPUT_SAMPLE_RATE, spent)


def at_microphone(sent: np.ndarray, delay_seconds: float, level_db: float) -> np.ndarray:
    """Return the echo of `sent` (24 kHz int16) in a microphone of 16 kHz."""
    samples = soxr.resample(sent.astype(np.float32) / 32768, OUTPUT_SAMPLE_RATE, INPUT_SAMPLE_RATE)
    delay = np.zeros(round(delay_seconds * INPUT_SAMPLE_RATE))
    return np.concatenate([delay, room(samples)]) * 10 ** (level_db / 20)


def conditions(sent: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield echoes of `sent` (24 kHz int16) at -12 dB under other conditions, with their names."""
    plain = resampled(sent.astype(np.float32) / 32768, OUTPUT_SAMPLE_RATE, INPUT_SAMPLE_RATE)
    delay = np.zeros(round(0.15 * INPUT_SAMPLE_RATE))
    yield "room of 0.5 s, reverberation +3 dB", np.concatenate([delay, room(plain, 0.5, 3.0)]) / 4
    yield "room of 0.5 s, reverberation +8 dB", np.concatenate([delay, room(plain, 0.5, 8.0)]) / 4
    yield "room of 0.8 s, reverberation +10 dB", np.concatenate([delay, room(plain, 0.8, 10.0)]) / 4
    loudspeakers = {
        "distorting loudspeaker": np.tanh(plain * 6) / 4,
        "small loudspeaker, wrong polarity": -2 * np.diff(plain, prepend=0),
        "telephone, mu-law at 8 kHz": _telephone(plain),
        "clock 250 ppm slow": resampled(plain, INPUT_SAMPLE_RATE, INPUT_SAMPLE_RATE + 4),
    }
    for name, samples in loudspeakers.items():
        yield name, np.concatenate([delay, room(samples)]) / 4
    yield (
        "delay of 1.1 s",
        np.concatenate([np.zeros(round(1.1 * INPUT_SAMPLE_RATE)), room(plain)]) / 4,
    )
    noisy = np.concatenate([delay, room(plain)]) / 10
    noisy += np.random.default_rng(1).normal(0, 10 ** (-45 / 20), len(noisy))
    yield "at -20 dB, in noise of -45 dBFS", noisy


def _telephone(samples: np.ndarray) -> np.ndarray:
    """Return samples after the quantization of ITU-T G.711 mu-law at 8 kHz."""
    narrow = np.clip(resampled(samples, INPUT_SAMPLE_RATE, 8000), -1, 1)
    code = np.round(np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256) * 127) / 127
    return resampled(np.sign(code) * np.expm1(np.abs(code) * np.log(256)) / 255, 8000, 16_000)


def with_jump(sent: np.ndarray, delay_seconds: float, level_db: float) -> np.ndarray:
    """Return an echo whose delay grows by `JUMP_SECONDS` in the middle, as of a jitter buffer."""
    samples = at_microphone(sent, delay_seconds, level_db)
    middle = len(samples) // 2
    jump = np.zeros(round(JUMP_SECONDS * INPUT_SAMPLE_RATE))
    return np.concatenate([samples[:middle], jump, samples[middle:]])


def mixed(one: np.ndarray, other: np.ndarray, at_seconds: float) -> np.ndarray:
    """Return `one` with `other` added from `at_seconds` on, until both have ended."""
    start = round(at_seconds * INPUT_SAMPLE_RATE)
    total = np.zeros(max(len(one), start + len(other)))
    total[: len(one)] += one
    total[start : start + len(other)] += other
    return total


def resampled(samples: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
    """Return samples at another rate."""
    return np.asarray(soxr.resample(samples, rate, to_rate))


def int16(samples: np.ndarray) -> np.ndarray:
    """Return float samples as int16."""
    return np.asarray((np.clip(samples, -1, 1) * 32767).astype("<i2"))
