"""Kokoro in PyTorch and in onnxruntime speaks written text with the same words."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from appliance.engines.tts.reader import Reader
from appliance.engines.tts.synthesizer import Synthesizer, load
from appliance.engines.tts.voices import Voices
from appliance.settings import TTSConfig
from tests.recognizer import word_error_rate
from tests.torch.agreement import TORCH, Spoken, as_words, speak

# One line each of five categories of tests/spoken. The recognizer hears all words of them.
LINES = (
    "Give 0.5–1 mg.",
    "Dial ext. 217.",
    "He owes C$5.",
    "The train to Leeds leaves at 9:05 a.m.",
    "Is it A or B?",
)
# Measured over 17 lines: 0.974 to 1.031. The predicted durations are rounded differently.
MIN_LENGTH_RATIO, MAX_LENGTH_RATIO = 0.94, 1.06
# The model adds noise to the voice, so that no two takes are equal: a recognizer hears "217" in one
# and "two seventeen" in another, and the silence at the ends differs by up to 5 %.
TAKES = 3


@pytest.fixture(scope="module")
def torch_synthesizer(torch_weights: Path) -> Synthesizer:
    return load(TORCH, torch_weights)


@pytest.fixture(scope="module")
def onnx_synthesizer(weights: Path) -> Synthesizer:
    return load(TTSConfig(streaming=False), weights)


@pytest.mark.parametrize("text", LINES)
def test_both_back_ends_speak_the_same_words_at_the_same_pace(
    torch_synthesizer: Synthesizer,
    onnx_synthesizer: Synthesizer,
    voices: Voices,
    weights: Path,
    text: str,
) -> None:
    reader = Reader(weights)
    actual = [speak(torch_synthesizer, reader, voices, text) for _ in range(TAKES)]
    expected = [speak(onnx_synthesizer, reader, voices, text) for _ in range(TAKES)]
    in_common = {take.heard for take in actual} & {take.heard for take in expected}
    assert min((word_error_rate(as_words(text), heard) for heard in in_common), default=1) <= 0.2
    ratio = _median_seconds(actual) / _median_seconds(expected)
    assert MIN_LENGTH_RATIO <= ratio <= MAX_LENGTH_RATIO


def _median_seconds(takes: list[Spoken]) -> float:
    return statistics.median(take.seconds for take in takes)
