from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm.small.moonshine import (
    Moonshine,
    decode,
    read_vocabulary,
    repeats,
    token_limit,
)
from appliance.errors import MissingWeights
from tests.engines.llm.conftest import Say, floats


@pytest.mark.parametrize(
    "text", ["What is the capital of France?", "My name is Clara.", "Yes.", "Tell me a joke."]
)
def test_a_sentence_is_heard_word_for_word(moonshine: Moonshine, say: Say, text: str) -> None:
    heard = moonshine.hear(floats(say(text)))
    assert heard.text == text
    assert heard.complete
    assert heard.confidence > -0.5


def test_a_long_sentence_is_heard_to_its_end(moonshine: Moonshine, say: Say) -> None:
    text = "I would like to bake a cake this afternoon, and then I will take it to my mother."
    assert moonshine.hear(floats(say(text))).text.endswith("to my mother.")


def test_quiet_speech_is_heard_too(moonshine: Moonshine, say: Say) -> None:
    quiet = floats(say("What is the capital of France?")) * np.float32(0.02)
    assert moonshine.hear(quiet).text == "What is the capital of France?"


@pytest.mark.parametrize("level", [0.0, 0.002, 0.05, 0.3])
def test_noise_cannot_make_it_ramble(moonshine: Moonshine, level: float) -> None:
    noise = np.random.default_rng(0).normal(size=6 * 16_000).astype(np.float32)
    heard = moonshine.hear(noise * np.float32(level))
    assert len(heard.text.split()) < 20


def test_it_stops_when_told_to(moonshine: Moonshine, say: Say) -> None:
    heard = moonshine.hear(floats(say("What is the capital of France?")), stop=lambda: True)
    assert (heard.text, heard.complete) == ("", False)


def test_a_click_is_too_short_to_be_heard(moonshine: Moonshine) -> None:
    assert moonshine.hear(np.ones(100, np.float32)).text == ""


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"encoder_model\.ort"):
        Moonshine(tmp_path, threads=1)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=30))
def test_a_written_vocabulary_is_read_back(pieces: list[bytes]) -> None:
    def length(size: int) -> bytes:
        return bytes([size]) if size < 128 else bytes([128 + size % 128, size // 128])

    assert read_vocabulary(b"".join(length(len(p)) + p for p in pieces)) == pieces


@pytest.mark.parametrize("data", [b"\x05abc", b"\x81"])
def test_a_cut_off_vocabulary_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="cut off"):
        read_vocabulary(data)


def test_special_and_unknown_tokens_say_nothing() -> None:
    pieces = [b"<unk>", b"<<ST_1>>", "▁Hello".encode(), "▁w\xf6rld".encode()]
    assert decode([0, 2, 1, 3, 99], pieces) == "Hello wörld"


@pytest.mark.parametrize("tail", [[7] * 4, [1, 2] * 4, [1, 2, 3] * 3, list(range(12)) * 3])
def test_a_loop_is_noticed(tail: list[int]) -> None:
    assert repeats([90, 91, 92, *tail])


@pytest.mark.parametrize("tokens", [[], [7, 7, 7], [1, 2, 3, 1, 2, 3], [1, 2, 1, 2, 1, 2]])
def test_saying_things_twice_is_no_loop(tokens: list[int]) -> None:
    assert not repeats(tokens)


def test_more_speech_may_become_more_tokens() -> None:
    assert token_limit(0.5) >= 5
    assert 60 < token_limit(10) < 75
