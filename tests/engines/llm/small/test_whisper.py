"""Whisper by ONNX Runtime: its features, its file format, and what it hears of real letters."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor  # type: ignore[import-untyped]
from tokenizers import Tokenizer

from appliance.engines.llm.small.ctranslate2_file import read_weights
from appliance.engines.llm.small.short_words import NO_SPEECH
from appliance.engines.llm.small.whisper import Whisper, tokenize, vocabulary
from appliance.engines.llm.small.whisper_features import WINDOW_SECONDS, mel_features, mel_filters
from appliance.errors import MissingWeights
from appliance.link.engine import INPUT_SAMPLE_RATE
from tests.engines.llm.speech import synthesize, to_samples

MODEL = Path(__file__).parents[4] / "weights/whisper-tiny-en"


def test_features_are_those_of_another_implementation() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, INPUT_SAMPLE_RATE).astype(np.float32)
    padded = np.pad(samples, (0, (WINDOW_SECONDS - 1) * INPUT_SAMPLE_RATE))
    expected = FeatureExtractor()(padded, padding=0)[:, : WINDOW_SECONDS * 100]
    np.testing.assert_allclose(mel_features(samples, mel_filters()), expected, atol=1e-4)


def test_speech_beyond_the_window_is_ignored() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 12 * INPUT_SAMPLE_RATE).astype(np.float32)
    within = samples[: WINDOW_SECONDS * INPUT_SAMPLE_RATE]
    filters = mel_filters()
    np.testing.assert_array_equal(mel_features(samples, filters), mel_features(within, filters))


def tensor(name: str, values: np.ndarray, kind: int) -> bytes:
    """Return a tensor as in a model file of CTranslate2."""
    text = name.encode() + b"\0"
    shape = struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
    head = struct.pack("<H", len(text)) + text + shape
    return head + struct.pack("<BI", kind, values.nbytes) + values.tobytes()


def test_tensors_of_a_model_file_are_read() -> None:
    bias = np.array([0.5, -2.0], "<f2")
    weight = np.arange(6, dtype="<f4").reshape(2, 3)
    name = b"WhisperSpec\0"
    data = struct.pack("<IH", 6, len(name)) + name + struct.pack("<II", 3, 2)
    found = read_weights(data + tensor("bias", bias, 4) + tensor("weight", weight, 0))
    np.testing.assert_array_equal(found["bias"], bias)
    np.testing.assert_array_equal(found["weight"], weight)


@pytest.mark.parametrize("data", [b"", b"GGUF", struct.pack("<IH", 6, 40) + b"Whisper\0"])
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="CTranslate2"):
        read_weights(data)


def test_vocabulary_maps_printable_letters_to_bytes() -> None:
    assert vocabulary({"\u0120no": 1, "\u00c3": 0}) == [b"\xc3", b" no"]


def test_missing_files_are_reported(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="model"):
        Whisper(tmp_path, 1)


@pytest.mark.skipif(not MODEL.exists(), reason="model files of the tests are not installed")
def test_texts_have_the_tokens_of_the_tokenizers_library() -> None:
    model = json.loads((MODEL / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    merges = {tuple(pair.split(" ")): rank for rank, pair in enumerate(model["merges"])}
    library = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    for text in (" Eightieth.", " 80th", " 80s.", " 1000000th", " Thousandth", " Stop it."):
        expected = library.encode(text, add_special_tokens=False).ids
        assert tokenize(text, model["vocab"], merges) == expected


@pytest.mark.skipif(not MODEL.exists(), reason="model files of the tests are not installed")
def test_probability_of_a_text_is_that_of_the_search() -> None:
    model = Whisper(MODEL, 1)
    speech = model.encode(to_samples(synthesize("September.")))
    ballot, _ = model.ballot(speech)
    text, best = max(ballot, key=lambda each: each[1].score)
    [score, other] = model.score_texts(speech, [text, "The end of October."])
    # The weights are int8, and one step over all tokens rounds in another way than many steps.
    assert score == pytest.approx(best.score, abs=0.5)
    assert other < score - 5


@pytest.mark.skipif(not MODEL.exists(), reason="model files of the tests are not installed")
def test_recognition_stops_when_asked() -> None:
    model = Whisper(MODEL, 1)
    silence = np.zeros(INPUT_SAMPLE_RATE, np.float32)
    assert [text for text, _ in model.ballot(model.encode(silence), lambda: True)[0]] == [""]


@pytest.mark.skipif(not MODEL.exists(), reason="model files of the tests are not installed")
def test_noise_is_not_speech_and_a_word_is() -> None:
    model = Whisper(MODEL, 1)
    noise = np.random.default_rng(1).normal(0, 0.1, INPUT_SAMPLE_RATE).astype(np.float32)
    _, of_noise = model.ballot(model.encode(noise))
    _, of_word = model.ballot(model.encode(to_samples(synthesize("September."))))
    assert of_word < NO_SPEECH < of_noise
