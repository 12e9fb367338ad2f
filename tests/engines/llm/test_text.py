"""Conversion of a reply's tokens to text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm.text import ReplyText


def feed(*chunks: bytes) -> tuple[list[str], ReplyText]:
    """Feed all chunks of a reply and return the non-empty texts."""
    reply = ReplyText()
    texts = [text for chunk in chunks if (text := reply.add_bytes(chunk))]
    rest = reply.finish()
    return [*texts, *([rest] if rest else [])], reply


@given(st.text())
def test_characters_split_across_tokens_arrive_complete(text: str) -> None:
    raw = ("Well, " + text).encode()
    texts, reply = feed(*(raw[i : i + 1] for i in range(len(raw))))
    assert "".join(texts) == reply.text == "Well, " + text


def test_text_is_returned_as_soon_as_it_is_final() -> None:
    texts, _ = feed(b"Paris", b" is", b" big", b".")
    assert texts == ["Paris", " is", " big", "."]


@pytest.mark.parametrize(
    "chunks",
    [
        [b"Assistant", b":", b" Paris."],
        [b"assistant", b"\n", b"Paris."],
        [b"  A", b"I", b": ", b"Paris."],
        [b"\n", b"Paris."],
    ],
)
def test_leading_role_name_is_removed(chunks: list[bytes]) -> None:
    assert "".join(feed(*chunks)[0]) == "Paris."


@pytest.mark.parametrize(
    "text", ["Assistants help.", "Users like it.", "A", "Use it.", "Ai ai ai."]
)
def test_words_that_begin_like_a_role_name_are_kept(text: str) -> None:
    assert "".join(feed(*(bytes([b]) for b in text.encode()))[0]) == text


def test_decoded_text_is_treated_like_bytes() -> None:
    reply = ReplyText()
    assert [reply.add(text) for text in ("Assist", "ant:", " Paris", ".")] == [
        "",
        "",
        "Paris",
        ".",
    ]
    assert reply.text == "Paris."


@pytest.mark.parametrize("text", ["assistant", "Assistant:"])
def test_role_name_alone_yields_no_text(text: str) -> None:
    assert feed(text.encode())[0] == []


def test_repeated_sentence_is_detected_as_a_loop() -> None:
    sentence = b"You should bring a jacket and a warm hat. "
    reply = ReplyText()
    reply.add_bytes(sentence)
    assert not reply.is_looping
    reply.add_bytes(sentence)
    assert reply.is_looping


def test_repeated_word_is_detected_as_a_loop() -> None:
    reply = ReplyText()
    reply.add_bytes(b"no " * 12)
    assert reply.is_looping


def test_repeated_short_phrase_is_not_detected_as_a_loop() -> None:
    reply = ReplyText()
    reply.add_bytes(b"The capital of France is Paris, and the capital of Japan is Tokyo.")
    assert not reply.is_looping
