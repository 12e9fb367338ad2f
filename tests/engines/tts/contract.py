"""Tests that every back end of the synthesizer must pass.

A test module subclasses SynthesizerContract and provides the fixture `synthesizer`.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from appliance.engines.tts.audio import Samples
from appliance.engines.tts.g2p import G2P
from appliance.engines.tts.synthesizer import MAX_PHONEMES, SynthesisCancelled, Synthesizer
from appliance.engines.tts.voices import Voices, VoiceStyle
from appliance.link.engine import OUTPUT_SAMPLE_RATE
from tests.recognizer import word_error_rate, words

SENTENCES = (
    "The capital of France is Paris.",
    "Your appointment with the doctor is on Tuesday morning.",
)


def synthesize(
    synthesizer: Synthesizer,
    g2p: G2P,
    voices: Voices,
    text: str,
    voice: str = "af_heart",
    speed: float = 1.0,
) -> Samples:
    """Return the samples of `text` as the back end returns them."""
    return stream(synthesizer, g2p.phonemes(text), voices, voice, speed)


def stream(
    synthesizer: Synthesizer,
    phonemes: str,
    voices: Voices,
    voice: str = "af_heart",
    speed: float = 1.0,
) -> Samples:
    """Return the joined samples of all parts."""
    style = VoiceStyle(voices.style(voice, len(phonemes)))
    if synthesizer.streams:
        style = VoiceStyle(style.vector, voices.statistics(voice))
    parts = [np.zeros(0, np.float32), *synthesizer.stream(phonemes, style, speed)]
    return np.concatenate(parts)


class SynthesizerContract:
    """Back-end independent tests: intelligibility, durations, voices and errors."""

    @pytest.mark.parametrize("sentence", SENTENCES)
    def test_sentence_is_recognized_by_a_speech_recognizer(
        self, synthesizer: Synthesizer, g2p: G2P, voices: Voices, sentence: str
    ) -> None:
        transcript = words(synthesize(synthesizer, g2p, voices, sentence), OUTPUT_SAMPLE_RATE)
        assert word_error_rate(sentence, transcript) <= 0.12, transcript

    def test_samples_are_finite_float32_between_minus_one_and_one(
        self, synthesizer: Synthesizer, g2p: G2P, voices: Voices
    ) -> None:
        samples = synthesize(synthesizer, g2p, voices, "Hello there.")
        assert samples.dtype == np.float32
        assert samples.ndim == 1
        assert np.isfinite(samples).all()
        assert 0.05 < np.abs(samples).max() <= 1.0

    def test_double_speed_gives_about_half_the_duration(
        self, synthesizer: Synthesizer, g2p: G2P, voices: Voices
    ) -> None:
        normal = synthesize(synthesizer, g2p, voices, SENTENCES[0])
        fast = synthesize(synthesizer, g2p, voices, SENTENCES[0], speed=2.0)
        assert 0.4 < len(fast) / len(normal) < 0.7

    def test_male_voice_has_lower_pitch_than_female_voice(
        self, synthesizer: Synthesizer, g2p: G2P, voices: Voices
    ) -> None:
        woman = synthesize(synthesizer, g2p, voices, SENTENCES[0])
        man = synthesize(synthesizer, g2p, voices, SENTENCES[0], voice="am_michael")
        assert _pitch_hz(man) < 0.8 * _pitch_hz(woman)

    def test_unknown_phonemes_are_dropped(self, synthesizer: Synthesizer, voices: Voices) -> None:
        assert len(stream(synthesizer, "漢字#", voices)) == 0

    def test_too_many_phonemes_are_rejected(self, synthesizer: Synthesizer, voices: Voices) -> None:
        with pytest.raises(ValueError, match="phonemes"):
            stream(synthesizer, "a" * (MAX_PHONEMES + 1), voices)

    def test_cancel_without_a_running_synthesis_does_nothing(
        self, synthesizer: Synthesizer, g2p: G2P, voices: Voices
    ) -> None:
        synthesizer.cancel()
        assert len(synthesize(synthesizer, g2p, voices, "Yes.")) > 0


def cancelled_midway(synthesizer: Synthesizer, g2p: G2P, voices: Voices) -> bool:
    """Return whether a long synthesis stops when another thread cancels it."""
    stop = threading.Event()

    def cancel() -> None:
        while not stop.is_set():
            synthesizer.cancel()
            time.sleep(0.01)

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        synthesize(synthesizer, g2p, voices, " ".join(SENTENCES))
    except SynthesisCancelled:
        return True
    finally:
        stop.set()
        canceller.join()
    return False


def _pitch_hz(samples: Samples) -> float:
    """Return the median pitch of the voiced frames, by autocorrelation."""
    pitches = []
    for start in range(0, len(samples) - 1200, 600):
        frame = samples[start : start + 1200].astype(np.float64)
        if np.abs(frame).max() < 0.05:
            continue
        frame -= frame.mean()
        similarity = np.correlate(frame, frame, "full")[len(frame) - 1 :]
        low, high = OUTPUT_SAMPLE_RATE // 400, OUTPUT_SAMPLE_RATE // 60
        lag = low + int(np.argmax(similarity[low:high]))
        if similarity[lag] > 0.5 * similarity[0]:
            pitches.append(OUTPUT_SAMPLE_RATE / lag)
    return float(np.median(pitches))
