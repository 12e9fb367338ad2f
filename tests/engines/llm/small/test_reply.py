"""Streamed replies of the small engine: speech, a tool call, or a copy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm.small.copies import CopyGuard
from appliance.engines.llm.small.reply import ReplySplitter
from appliance.link.engine import Tool

TIME = Tool("current_time", "Tells the time.", '{"type": "object", "properties": {}}')
ANSWER = "The moon is the only natural satellite of the Earth."


def feed(*pieces: str, tools: tuple[Tool, ...] = (TIME,)) -> tuple[list[str], ReplySplitter]:
    parser = ReplySplitter(CopyGuard([ANSWER], "Stop."), tools)
    return [parser.feed(piece.encode()) for piece in pieces], parser


def test_speech_is_returned_as_soon_as_it_cannot_be_a_call_or_a_copy() -> None:
    texts, parser = feed("It", " is", " ten", ".")
    assert texts == ["", "It is", " ten", "."]
    assert parser.finish() == ""
    assert parser.call is None


@pytest.mark.parametrize(
    "text", ["current_time()", "\n current_time()", "assistant\ncurrent_time()", "get_weather()"]
)
def test_call_is_not_spoken(text: str) -> None:
    texts, parser = feed(*text)
    assert "".join(texts).strip() == ""
    assert parser.finish().strip() == ""
    assert parser.call is not None


def test_speech_before_a_call_is_spoken() -> None:
    texts, parser = feed(*"One moment. current_time()")
    assert "".join(texts) + parser.finish() == "One moment. "
    assert parser.call is not None
    assert parser.call.is_complete


def test_call_is_complete_with_its_bracket() -> None:
    _, parser = feed("current", "_time", "(")
    assert parser.call is not None
    assert not parser.call.is_complete
    parser.feed(b")")
    assert parser.call.is_complete


def test_every_reply_is_speech_without_tools() -> None:
    texts, parser = feed(*"current_time()", tools=())
    assert "".join(texts) + parser.finish() == "current_time()"
    assert parser.call is None


def test_nothing_of_a_copy_is_returned() -> None:
    texts, parser = feed(*ANSWER)
    assert set(texts) == {""}
    assert parser.finish() == ""
    assert parser.copied == ANSWER


def test_words_that_were_held_back_are_returned_when_they_are_not_a_copy() -> None:
    texts, parser = feed("The", " moon", " is", " far", " away", ".")
    assert texts[:3] == ["", "", ""]
    assert "".join(texts) + parser.finish() == "The moon is far away."
    assert parser.copied == ""


def test_reply_that_is_cut_off_is_spoken_as_it_is() -> None:
    texts, parser = feed("The", " moon")
    assert texts == ["", ""]
    assert parser.finish(is_cut=True) == "The moon"


@given(st.text(max_size=60), st.integers(1, 5))
def test_speech_is_complete_however_it_is_split(text: str, size: int) -> None:
    whole, parser = feed(text)
    end = parser.finish()
    pieces, other = feed(*(text[start : start + size] for start in range(0, len(text), size)))
    assert "".join(pieces) + other.finish() == "".join(whole) + end
