"""The bot's own voice in the microphone is told from a caller, by signals made here."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from appliance.gateway.turns.echo import EchoDetector
from appliance.gateway.turns.echo_audio import ACTIVE_SECONDS, RATE, WINDOW_SECONDS, SentAudio
from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE

WINDOW = 512
LEAD_SECONDS = 0.3  # audio is sent this long before its playback
CHUNK = OUTPUT_SAMPLE_RATE // 25


def voice(seconds: float, seed: int) -> np.ndarray:
    """Return 24 kHz samples that change like speech: harmonics through moving filters."""
    chance = np.random.default_rng(seed)
    total: list[np.ndarray] = []
    while sum(len(part) for part in total) < seconds * OUTPUT_SAMPLE_RATE:
        size = int(chance.uniform(0.06, 0.2) * OUTPUT_SAMPLE_RATE)
        time = np.arange(size) / OUTPUT_SAMPLE_RATE
        pitch, loud = chance.uniform(90, 220), 10 ** chance.uniform(-1.5, 0)
        formants = chance.uniform(300, 3200, 3)
        syllable = np.zeros(size)
        for harmonic in np.arange(pitch, 3500, pitch):
            gain = np.exp(-(((harmonic - formants) / 200) ** 2)).sum() + 0.01
            syllable += gain * np.sin(2 * np.pi * harmonic * time)
        total += [loud * syllable * np.hanning(size), np.zeros(int(chance.uniform(0, 1500)))]
    samples = np.concatenate(total)[: int(seconds * OUTPUT_SAMPLE_RATE)]
    return np.asarray(0.1 * samples / np.sqrt(np.mean(samples**2)))


def pcm(samples: np.ndarray) -> bytes:
    return bytes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def delayed(samples: np.ndarray, seconds: float) -> np.ndarray:
    return np.concatenate([np.zeros(round(seconds * OUTPUT_SAMPLE_RATE)), samples])[: len(samples)]


def echoes(sent: np.ndarray, heard: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Send `sent` while the microphone hears `heard`, both at 24 kHz.

    Returns for each window whether it was taken for an echo, and whether it is loud.
    """
    times = [10 + n / OUTPUT_SAMPLE_RATE for n in range(0, len(sent), CHUNK)]
    chunks = [
        (at - LEAD_SECONDS, at, sent[n * CHUNK : (n + 1) * CHUNK]) for n, at in enumerate(times)
    ]
    return heard_by(EchoDetector(), chunks, heard)


def heard_by(
    detector: EchoDetector, chunks: list[tuple[float, float, np.ndarray]], heard: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Do the same with chunks that have times at which they are sent, and are played."""
    microphone = soxr.resample(heard, OUTPUT_SAMPLE_RATE, INPUT_SAMPLE_RATE)
    microphone += np.random.default_rng(7).normal(0, 1e-4, len(microphone))
    found, loud, number = [], [], 0
    for start in range(0, len(microphone) - WINDOW + 1, WINDOW):
        now = 10 + (start + WINDOW) / INPUT_SAMPLE_RATE
        while number < len(chunks) and chunks[number][0] < now:
            _, plays_at, chunk = chunks[number]
            detector.sent(pcm(chunk), plays_at)
            number += 1
        window = microphone[start : start + WINDOW]
        found.append(detector.is_echo(pcm(window), now))
        loud.append(np.sqrt(np.mean(window**2)) > 0.003)
    return np.array(found), np.array(loud)


def share(found: np.ndarray, loud: np.ndarray, first_seconds: float, last_seconds: float) -> float:
    """Return the share of the loud windows between two times that were taken for an echo."""
    part = slice(round(first_seconds / WINDOW_SECONDS), round(last_seconds / WINDOW_SECONDS))
    return float(np.mean(found[part][loud[part]]))


@pytest.mark.parametrize("level_db", [0, -12, -20])
@pytest.mark.parametrize("delay_seconds", [0.05, 0.31, 0.9])
def test_bot_s_own_voice_is_an_echo(delay_seconds: float, level_db: float) -> None:
    sent = voice(4.0, seed=1)
    found = echoes(sent, delayed(sent, delay_seconds) * 10 ** (level_db / 20))
    assert share(*found, delay_seconds + 0.3, 4.0) > 0.97


def test_echo_of_a_small_loudspeaker_is_an_echo() -> None:
    sent = voice(4.0, seed=1)
    high_pass = np.diff(sent, prepend=0) * -2  # and the wrong polarity
    assert share(*echoes(sent, delayed(high_pass, 0.1)), 0.4, 4.0) > 0.95


def test_other_words_of_the_same_voice_are_not_an_echo() -> None:
    sent, caller = voice(6.0, seed=1), voice(6.0, seed=2)
    assert share(*echoes(sent, caller), 0, 6.0) < 0.05


def test_caller_is_heard_over_an_echo_at_20_db_below() -> None:
    sent, caller = voice(6.0, seed=1), voice(6.0, seed=2)
    caller[: 3 * OUTPUT_SAMPLE_RATE] = 0
    found, loud = echoes(sent, caller + 0.1 * delayed(sent, 0.2))
    assert share(found, loud, 0.6, 3.0) > 0.97, "before the caller speaks"
    level = np.abs(caller[: len(found) * 768]).reshape(len(found), -1).max(axis=1)
    assert share(found, level > 0.1, 3.2, 6.0) < 0.2


def test_echo_whose_delay_changes_is_still_an_echo() -> None:
    sent = voice(6.0, seed=1)
    middle = 3 * OUTPUT_SAMPLE_RATE
    heard = np.concatenate([delayed(sent, 0.2)[:middle], delayed(sent, 0.24)[middle:]])
    assert share(*echoes(sent, heard), 0.6, 6.0) > 0.95


@pytest.mark.parametrize("gap_seconds", [0.3, 2.7, -0.5])
def test_next_reply_with_another_delay_starts_no_speech(gap_seconds: float) -> None:
    """A negative gap: the first reply was interrupted, and its end was not played."""
    begin = 13.0 + gap_seconds
    heard = np.zeros(10 * OUTPUT_SAMPLE_RATE)
    sent: list[tuple[float, float, np.ndarray]] = []  # sent at, plays at, samples
    for seed, starts_at, delay in ((1, 10.0, 0.2), (2, begin, 0.23)):
        reply = voice(3.0, seed)
        place = round((starts_at - 10 + delay) * OUTPUT_SAMPLE_RATE)
        heard[place:] = 0
        heard[place : place + len(reply)] = 0.3 * reply
        for n in range(0, len(reply), CHUNK):
            plays_at = starts_at + n / OUTPUT_SAMPLE_RATE
            sent_at = max(plays_at - LEAD_SECONDS, starts_at - 0.05)
            if seed == 2 or sent_at < begin - 0.05:
                sent.append((sent_at, plays_at, reply[n : n + CHUNK]))
    found, loud = heard_by(EchoDetector(), sorted(sent, key=lambda each: each[0]), heard)
    run = longest = 0
    for echo, voiced in zip(found, loud, strict=True):
        run = run + 1 if voiced and not echo else 0
        longest = max(longest, run)
    assert longest * WINDOW_SECONDS < 0.2


def test_caller_without_an_echo_is_heard_again_after_one() -> None:
    sent, caller = voice(8.0, seed=1), voice(8.0, seed=2) * 0.5
    middle = 3 * OUTPUT_SAMPLE_RATE
    found = echoes(sent, np.concatenate([delayed(sent, 0.2)[:middle], caller[middle:]]))
    assert share(*found, 0.6, 3.0) > 0.97
    assert share(*found, 5.0, 8.0) < 0.05, "a headset is plugged in"


def test_nothing_is_an_echo_when_the_bot_has_been_silent() -> None:
    detector = EchoDetector()
    assert not detector.active(0.0)
    detector.sent(pcm(voice(0.5, seed=1)), 1.0)
    assert detector.active(1.5 + ACTIVE_SECONDS - 0.01)
    assert not detector.active(1.5 + ACTIVE_SECONDS + 0.01)
    assert not detector.is_echo(bytes(2 * WINDOW), 1.5 + ACTIVE_SECONDS + 0.01)


def stuttering(seconds: float) -> tuple[list[tuple[float, float, np.ndarray]], np.ndarray]:
    """Return 3 s of steady audio, and then pieces with gaps, and what a client plays of them.

    The machine is overloaded: the next piece is sent late. The client's buffer runs dry, so it
    plays each piece after a new delay.
    """
    chance = np.random.default_rng(3)
    sent: list[tuple[float, float, np.ndarray]] = []
    heard = np.zeros(round((seconds + 2) * OUTPUT_SAMPLE_RATE))
    speech, begins, position = voice(seconds, seed=1), 10.0, 0
    while position < len(speech) and begins < 9 + seconds:
        steady = begins == 10.0
        size = round((3.0 if steady else chance.uniform(0.08, 0.3)) * OUTPUT_SAMPLE_RATE)
        piece = speech[position : position + size]
        for n in range(0, len(piece), CHUNK):
            plays_at = begins + n / OUTPUT_SAMPLE_RATE
            sent_at = max(plays_at - LEAD_SECONDS, begins if not steady else 9.7)
            sent.append((sent_at, plays_at, piece[n : n + CHUNK]))
        delay = 0.2 if steady else chance.uniform(0.1, 0.25)
        place = round((begins - 10 + delay) * OUTPUT_SAMPLE_RATE)
        heard[place : place + len(piece)] = 0.3 * piece
        position += len(piece)
        begins += len(piece) / OUTPUT_SAMPLE_RATE + chance.uniform(0.05, 0.25)
    return sent, heard


def test_echo_of_audio_that_stutters_is_an_echo() -> None:
    sent, heard = stuttering(8.0)
    found, loud = heard_by(EchoDetector(), sent, heard)
    assert share(found, loud, 0.6, 8.0) > 0.97


def test_caller_is_heard_over_an_echo_that_stutters() -> None:
    sent, heard = stuttering(8.0)
    caller = voice(3.0, seed=2)
    heard /= 3  # the echo is 20 dB below the caller
    heard[4 * OUTPUT_SAMPLE_RATE : 7 * OUTPUT_SAMPLE_RATE] += caller
    found, _ = heard_by(EchoDetector(), sent, heard)
    level = np.sqrt((caller[: 93 * 768].reshape(93, -1) ** 2).mean(axis=1))
    first = round(4 / WINDOW_SECONDS)
    assert np.mean(found[first : first + 93][level > 0.1]) < 0.2, "loud syllables"


def test_sent_audio_is_the_same_whenever_it_is_analyzed() -> None:
    """With a pause, an underrun, and an interrupted reply, of which a part is never played."""
    chance = np.random.default_rng(4)
    at_once, later = SentAudio(), SentAudio()
    plays_at = 100.0
    for gap_seconds in (0.0, 1.0, 0.2, -0.3):
        plays_at += gap_seconds
        for _ in range(30):
            chunk = pcm(chance.normal(0, 0.1, CHUNK))
            for sent in (at_once, later):
                sent.add(chunk, plays_at)
            at_once.between(0, 1)
            plays_at += 0.04
    first, last = round((plays_at - 3) * RATE), round(plays_at * RATE)
    assert np.allclose(later.between(first, last), at_once.between(first, last), atol=1e-6)
    hops = round((plays_at - 3) / 0.016), round(plays_at / 0.016)
    assert np.allclose(later.levels_between(*hops), at_once.levels_between(*hops), atol=1e-3)
    assert later.unsteady_until == at_once.unsteady_until
    assert later.until == at_once.until


def test_only_the_latest_audio_of_a_long_reply_waits_for_its_analysis() -> None:
    chance = np.random.default_rng(5)
    at_once, later = SentAudio(), SentAudio()
    for number in range(60 * 25):  # a minute
        chunk = pcm(chance.normal(0, 0.1, CHUNK))
        for sent in (at_once, later):
            sent.add(chunk, 100.0 + number * 0.04)
        at_once.between(0, 1)
    assert sum(len(chunk) for chunk, _ in later._pending) < 2 * 5 * OUTPUT_SAMPLE_RATE
    first, last = round(157.0 * RATE), round(160.0 * RATE)
    assert np.allclose(later.between(first, last), at_once.between(first, last), atol=1e-3)
    assert later.unsteady_until < 160.0
