from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm.text import Reply


def through(*pieces: bytes) -> tuple[list[str], Reply]:
    reply = Reply()
    given_out = [text for piece in pieces if (text := reply.add(piece))]
    rest = reply.finish()
    return [*given_out, *([rest] if rest else [])], reply


@given(st.text())
def test_whatever_is_said_characters_arrive_whole(text: str) -> None:
    raw = ("Well, " + text).encode()
    out, reply = through(*(raw[i : i + 1] for i in range(len(raw))))
    assert "".join(out) == reply.text == "Well, " + text


def test_text_comes_as_soon_as_it_is_certain() -> None:
    out, _ = through(b"Paris", b" is", b" big", b".")
    assert out == ["Paris", " is", " big", "."]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"Assistant", b":", b" Paris."],
        [b"assistant", b"\n", b"Paris."],
        [b"  A", b"I", b": ", b"Paris."],
        [b"\n", b"Paris."],
    ],
)
def test_a_leading_role_is_not_spoken(pieces: list[bytes]) -> None:
    assert "".join(through(*pieces)[0]) == "Paris."


@pytest.mark.parametrize(
    "text", ["Assistants help.", "Users like it.", "A", "Use it.", "Ai ai ai."]
)
def test_words_that_only_begin_like_a_role_are_kept(text: str) -> None:
    assert "".join(through(*(bytes([b]) for b in text.encode()))[0]) == text


def test_what_was_decoded_elsewhere_is_treated_the_same() -> None:
    reply = Reply()
    assert [reply.add_text(text) for text in ("Assist", "ant:", " Paris", ".")] == [
        "",
        "",
        "Paris",
        ".",
    ]
    assert reply.text == "Paris."


@pytest.mark.parametrize("text", ["assistant", "Assistant:"])
def test_a_role_alone_is_nothing(text: str) -> None:
    assert through(text.encode())[0] == []


def test_going_in_circles_is_noticed() -> None:
    sentence = b"You should bring a jacket and a warm hat. "
    reply = Reply()
    reply.add(sentence)
    assert not reply.loops
    reply.add(sentence)
    assert reply.loops


def test_one_word_over_and_over_is_a_circle() -> None:
    reply = Reply()
    reply.add(b"no " * 12)
    assert reply.loops


def test_common_phrases_may_come_twice() -> None:
    reply = Reply()
    reply.add(b"The capital of France is Paris, and the capital of Japan is Tokyo.")
    assert not reply.loops
