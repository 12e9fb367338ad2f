"""The figures and the page of `make bench-voice`."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import wave

import numpy as np
import pytest

from appliance.link.engine import OUTPUT_SAMPLE_RATE
from ops.bundle.calibration import PHRASES as CALIBRATION_PHRASES
from tests.bench.log_spectra import Samples, distance_db
from tests.bench.voice import summary
from tests.bench.voice_page import Pair, render
from tests.bench.voice_phrases import PHRASES


def buzz(pitch_hz: float, seconds: float = 0.5) -> Samples:
    """Return a harmonic sound, whose pitch falls by a tenth."""
    times = np.arange(round(seconds * OUTPUT_SAMPLE_RATE)) / OUTPUT_SAMPLE_RATE
    phase = 2 * np.pi * pitch_hz * times * (1 - 0.05 * times / seconds)
    harmonics = [0.3 / k * np.sin(k * phase) for k in range(1, 20)]
    return np.asarray(np.sum(harmonics, axis=0), np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * OUTPUT_SAMPLE_RATE), np.float32)


def test_equal_recordings_have_no_distance() -> None:
    assert distance_db(buzz(120), buzz(120)) == 0


def test_silence_before_and_after_speech_makes_no_difference() -> None:
    other = np.concatenate([silence(0.03), buzz(120), silence(0.2)])
    assert distance_db(buzz(120), other) < 0.1


def test_click_before_the_speech_of_one_recording_does_not_misplace_the_other() -> None:
    click = silence(0.1)
    click[:120] = 0.015  # just audible, so the recording begins with it
    assert distance_db(np.concatenate([click, buzz(120)]), buzz(120)) < 5


def test_missing_start_is_a_large_difference() -> None:
    assert distance_db(buzz(120), buzz(120)[OUTPUT_SAMPLE_RATE // 4 :]) > 10


def test_distance_grows_with_the_difference() -> None:
    speech = buzz(120)
    noise = np.random.default_rng(1).standard_normal(len(speech)).astype(np.float32)
    distances = [distance_db(speech, other) for other in (speech + 1e-5 * noise, buzz(140))]
    assert 0 < distances[0] < distances[1]


def test_missing_end_is_a_large_difference() -> None:
    assert distance_db(buzz(120), buzz(120)[: OUTPUT_SAMPLE_RATE // 4]) > 10


def test_silence_instead_of_speech_is_a_large_difference() -> None:
    assert distance_db(buzz(120), silence(0)) > 10


def test_silent_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="no speech"):
        distance_db(silence(1), buzz(120))


def pair(text: str = "Yes & no.", to_whole_db: float = 1.0, heard: str = "yes and no") -> Pair:
    return Pair(text, b"\1\0" * 240, b"\2\0" * 480, to_whole_db, 2.0, "yes and no", heard)


def test_page_has_both_recordings_of_each_phrase() -> None:
    page = render("Voice af_heart", ["On a machine."], [pair()], 3.5, 8.0)
    wavs = [base64.b64decode(data) for data in re.findall(r"base64,([^\"]+)", page)]
    recordings = []
    for wav in wavs:
        with wave.open(io.BytesIO(wav)) as file:
            assert (file.getframerate(), file.getnchannels()) == (OUTPUT_SAMPLE_RATE, 1)
            recordings.append(file.readframes(file.getnframes()))
    assert recordings == [b"\1\0" * 240, b"\2\0" * 480]
    assert "Yes &amp; no." in page


def test_page_highlights_a_distance_above_the_limit_and_other_words() -> None:
    def marks(one: Pair) -> int:
        return render("", [], [one], 3.5, 8.0).count("over") - 1  # one is in the style sheet

    assert marks(pair()) == 0
    assert marks(pair(to_whole_db=4.0)) == 1
    assert marks(pair(heard="yes or no")) == 1


def test_summary_says_what_is_missed() -> None:
    lines = "\n".join(summary([pair(), pair(to_whole_db=4.0), pair(heard="no")]))
    assert re.search(r"one piece, largest +4.00 dB .*MISSED", lines)
    assert "same words in 2 of 3" in lines


def test_summary_says_how_noisy_the_references_of_a_missed_phrase_are() -> None:
    missed = dataclasses.replace(pair(to_whole_db=4.0), noise="one piece is at 3.4 dB")
    lines = "\n".join(summary([pair(), missed]))
    assert "noise of int8 in 'Yes & no.': one piece is at 3.4 dB" in lines
    assert "noise" not in "\n".join(summary([pair()]))


def test_compared_phrases_were_not_used_for_calibration() -> None:
    assert not {text.strip(".?!,") for text in PHRASES} & {
        text.strip(".?!,") for text in CALIBRATION_PHRASES
    }
    assert len(set(PHRASES)) == len(PHRASES) >= 40
