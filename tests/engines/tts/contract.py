"""What every back end of the synthesizer has to do; a test module subclasses SynthesizerContract
and provides the fixture `synthesizer`."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from appliance.engines.tts.g2p import G2P
from appliance.engines.tts.synthesizer import MAX_PHONEMES, Cancelled, Samples, Synthesizer
from appliance.engines.tts.voices import Voices
from appliance.link.engine import OUTPUT_SAMPLE_RATE
from tests.recognizer import word_error_rate, words

SENTENCES = (
    "The capital of France is Paris.",
    "Your appointment with the doctor is on Tuesday morning.",
)


def say(
    synthesizer: Synthesizer,
    g2p: G2P,
    voices: Voices,
    text: str,
    voice: str = "af_heart",
    speed: float = 1.0,
) -> Samples:
    """The back end's own samples for a text."""
    phonemes = g2p.phonemes(text)
    return synthesizer.speak(phonemes, voices.style(voice, len(phonemes)), speed)


class SynthesizerContract:
    """Same words, same lengths, same manners, whichever back end."""

    @pytest.mark.parametrize("sentence", SENTENCES)
    def test_an_independent_listener_understands_it(
        self, synthesizer: Synthesizer, g2p: G2P, voices: Voices, sentence: str
    ) -> None:
        heard = words(say(synthesizer, g2p, voices, sentence), OUTPUT_SAMPLE_RATE)
        assert word_error_rate(sentence, heard) <= 0.12, heard

    def test_samples_are_finite_float32_within_the_range(
        self, synthesizer: Synthesizer, g2p: G2P, voices: Voices
    ) -> None:
        samples = say(synthesizer, g2p, voices, "Hello there.")
        assert samples.dtype == np.float32
        assert samples.ndim == 1
        assert np.isfinite(samples).all()
        assert 0.05 < np.abs(samples).max() <= 1.0

    def test_twice_the_speed_takes_about_half_the_time(
        self, synthesizer: Synthesizer, g2p: G2P, voices: Voices
    ) -> None:
        plain = say(synthesizer, g2p, voices, SENTENCES[0])
        fast = say(synthesizer, g2p, voices, SENTENCES[0], speed=2.0)
        assert 0.4 < len(fast) / len(plain) < 0.7

    def test_voices_differ(self, synthesizer: Synthesizer, g2p: G2P, voices: Voices) -> None:
        woman = say(synthesizer, g2p, voices, SENTENCES[0])
        man = say(synthesizer, g2p, voices, SENTENCES[0], voice="am_michael")
        assert _pitch_hz(man) < 0.8 * _pitch_hz(woman)

    def test_phonemes_it_does_not_know_are_left_out(
        self, synthesizer: Synthesizer, voices: Voices
    ) -> None:
        assert len(synthesizer.speak("漢字#", voices.style("af_heart", 3), 1.0)) == 0

    def test_more_phonemes_than_it_takes_are_refused(
        self, synthesizer: Synthesizer, voices: Voices
    ) -> None:
        with pytest.raises(ValueError, match="phonemes"):
            synthesizer.speak("a" * (MAX_PHONEMES + 1), voices.style("af_heart", 510), 1.0)

    def test_cancelling_when_nothing_is_spoken_does_nothing(
        self, synthesizer: Synthesizer, g2p: G2P, voices: Voices
    ) -> None:
        synthesizer.cancel()
        assert len(say(synthesizer, g2p, voices, "Yes.")) > 0


def cancelled_midway(synthesizer: Synthesizer, g2p: G2P, voices: Voices) -> bool:
    """Whether a long speech, cancelled from another thread, was given up."""
    stop = threading.Event()

    def cancel() -> None:
        while not stop.is_set():
            synthesizer.cancel()
            time.sleep(0.01)

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        say(synthesizer, g2p, voices, " ".join(SENTENCES))
    except Cancelled:
        return True
    finally:
        stop.set()
        canceller.join()
    return False


def _pitch_hz(samples: Samples) -> float:
    """Median pitch over the voiced frames, by autocorrelation."""
    found = []
    for start in range(0, len(samples) - 1200, 600):
        frame = samples[start : start + 1200].astype(np.float64)
        if np.abs(frame).max() < 0.05:
            continue
        frame -= frame.mean()
        similar = np.correlate(frame, frame, "full")[len(frame) - 1 :]
        low, high = OUTPUT_SAMPLE_RATE // 400, OUTPUT_SAMPLE_RATE // 60
        lag = low + int(np.argmax(similar[low:high]))
        if similar[lag] > 0.5 * similar[0]:
            found.append(OUTPUT_SAMPLE_RATE / lag)
    return float(np.median(found))


WEIGHTS = Path(__file__).parents[3] / "weights"
