"""Moonshine on speech and synthetic audio, and its vocabulary file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm.small.moonshine import (
    Moonshine,
    change_speed,
    decode,
    max_tokens,
    parse_vocabulary,
    remove_loop,
)
from appliance.errors import MissingWeights
from tests.engines.llm.speech import synthesize, to_samples


@pytest.mark.parametrize(
    "text", ["What is the capital of France?", "My name is Clara.", "Yes.", "Tell me a joke."]
)
def test_sentence_is_recognized_word_for_word(moonshine: Moonshine, text: str) -> None:
    recognition = moonshine.recognize(to_samples(synthesize(text)))
    assert recognition.text == text
    assert recognition.complete
    assert recognition.confidence > -0.5


def test_long_sentence_is_recognized_to_its_end(moonshine: Moonshine) -> None:
    text = "I would like to bake a cake this afternoon, and then I will take it to my mother."
    recognition = moonshine.recognize(to_samples(synthesize(text)))
    assert recognition.text.endswith("to my mother.")


def test_quiet_speech_is_recognized(moonshine: Moonshine) -> None:
    quiet = to_samples(synthesize("What is the capital of France?")) * np.float32(0.02)
    assert moonshine.recognize(quiet).text == "What is the capital of France?"


@pytest.mark.parametrize("level", [0.0, 0.002, 0.05, 0.3])
def test_noise_yields_few_words(moonshine: Moonshine, level: float) -> None:
    noise = np.random.default_rng(0).normal(size=6 * 16_000).astype(np.float32)
    recognition = moonshine.recognize(noise * np.float32(level))
    assert len(recognition.text.split()) < 20


def test_stopped_recognition_is_incomplete(moonshine: Moonshine) -> None:
    samples = to_samples(synthesize("What is the capital of France?"))
    recognition = moonshine.recognize(samples, should_stop=lambda: True)
    assert (recognition.text, recognition.complete) == ("", False)


def test_click_is_too_short_to_recognize(moonshine: Moonshine) -> None:
    assert moonshine.recognize(np.ones(100, np.float32)).text == ""


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"encoder_model\.ort"):
        Moonshine(tmp_path, threads=1)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=30))
def test_encoded_vocabulary_is_parsed(pieces: list[bytes]) -> None:
    def length(size: int) -> bytes:
        return bytes([size]) if size < 128 else bytes([128 + size % 128, size // 128])

    assert parse_vocabulary(b"".join(length(len(p)) + p for p in pieces)) == pieces


@pytest.mark.parametrize("data", [b"\x05abc", b"\x81"])
def test_truncated_vocabulary_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="truncated"):
        parse_vocabulary(data)


def test_special_and_unknown_tokens_have_no_text() -> None:
    pieces = [b"<unk>", b"<<ST_1>>", "▁Hello".encode(), "▁w\xf6rld".encode()]
    assert decode([0, 2, 1, 3, 99], pieces) == "Hello wörld"


@pytest.mark.parametrize("loop", [[7] * 4, [1, 2] * 4, [1, 2, 3] * 3, list(range(12)) * 3])
def test_one_occurrence_of_a_loop_is_kept_at_the_token_limit(loop: list[int]) -> None:
    kept = remove_loop([90, 91, 92, *loop])
    assert list(kept[:3]) == [90, 91, 92]
    assert 0 < len(kept) - 3 <= 12
    assert list(kept[3:]) == loop[: len(kept) - 3]


@pytest.mark.parametrize("tokens", [[], [7, 7, 7], [1, 2, 3, 1, 2, 3], [1, 2, 1, 2, 1, 2]])
def test_tokens_that_occur_twice_are_not_a_loop(tokens: list[int]) -> None:
    assert list(remove_loop(tokens)) == tokens


def test_speed_changes_the_length() -> None:
    samples = np.zeros(11_000, np.float32)
    assert [len(change_speed(samples, speed)) for speed in (1.0, 1.1)] == [11_000, 10_000]


def test_token_limit_grows_with_the_audio_length() -> None:
    assert max_tokens(0.5) >= 5
    assert 60 < max_tokens(10) < 75
