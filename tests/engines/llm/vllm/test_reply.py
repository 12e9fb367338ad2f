"""Incremental parsing of streamed replies: speech, tool calls, and the reply to noise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm.vllm.reply import ReplyEnd, ReplyParser
from appliance.link.engine import Tool, ToolCall

END_CALL = Tool("end_call", "Ends the call.", '{"type": "object", "properties": {}}')
CALL = '{"name": "end_call", "parameters": {}}'
NOISE = "((noise))"


def feed(*pieces: str, tools: bool = True, noise: str = NOISE) -> tuple[list[str], ReplyEnd]:
    parser = ReplyParser([END_CALL] if tools else [], noise)
    return [parser.feed(piece) for piece in pieces], parser.finish()


def feed_letters(text: str, tools: bool = True) -> tuple[str, ReplyEnd]:
    texts, end = feed(*text, tools=tools)
    return "".join(texts), end


def test_speech_is_returned_as_soon_as_it_cannot_be_a_tool_call() -> None:
    texts, end = feed("It", " is", " ten", ".")
    assert texts == ["It", " is", " ten", "."]
    assert end == ReplyEnd()


@pytest.mark.parametrize("text", [CALL, f"\n {CALL}\n", f"assistant\n\n{CALL}"])
def test_tool_call_is_not_spoken(text: str) -> None:
    assert feed_letters(text) == ("", ReplyEnd(call=ToolCall("end_call", "{}")))


@pytest.mark.parametrize(
    "text",
    ["{", CALL[:-3], "<function=end_call>{}</function>", '{"name": "launch", "parameters": {}}'],
)
def test_malformed_or_unknown_call_is_invalid(text: str) -> None:
    assert feed_letters(text) == ("", ReplyEnd(call=ToolCall()))


def test_call_after_speech_is_invalid_and_not_spoken() -> None:
    assert feed_letters(f"One moment. {CALL}") == ("One moment. ", ReplyEnd(call=ToolCall()))


@pytest.mark.parametrize("text", ["Two < three <function", "A set {1, 2} of numbers.", "x <"])
def test_speech_with_a_brace_or_bracket_is_spoken_completely(text: str) -> None:
    texts, end = feed_letters(text)
    assert texts + end.text == text
    assert end.call is None


@pytest.mark.parametrize("text", [CALL, "{smiles} Hello."])
def test_every_reply_is_speech_when_no_tools_are_offered(text: str) -> None:
    assert feed_letters(text, tools=False) == (text, ReplyEnd())


@pytest.mark.parametrize("text", [NOISE, f" {NOISE}\n", f"{NOISE}.", "((Noise))", f"{NOISE} . "])
@pytest.mark.parametrize("tools", [True, False])
def test_noise_reply_is_not_spoken(text: str, tools: bool) -> None:
    assert feed_letters(text, tools) == ("", ReplyEnd(noise=True))
    assert feed(text) == ([""], ReplyEnd(noise=True))


@pytest.mark.parametrize("text", ["((noise)) in the street", "((", "(noise)", "noise", "((noisy))"])
def test_speech_similar_to_the_noise_reply_is_spoken(text: str) -> None:
    texts, end = feed_letters(text)
    assert texts + end.text == text
    assert not end.noise


def test_no_reply_is_noise_when_no_noise_reply_is_set() -> None:
    assert feed("", " ", noise="") == (["", ""], ReplyEnd())
    assert feed(NOISE, noise="")[0] == [NOISE]


@pytest.mark.parametrize("text", ["assistant\n\nParis.", "Assistant: Paris."])
def test_leading_role_name_is_not_spoken(text: str) -> None:
    texts, end = feed_letters(text)
    assert texts + end.text == "Paris."


def test_repeated_sentence_is_detected_as_a_loop() -> None:
    parser = ReplyParser([], NOISE)
    parser.feed("You should bring a jacket and a warm hat. ")
    assert not parser.is_looping
    parser.feed("You should bring a jacket and a warm hat. ")
    assert parser.is_looping


def test_repetition_inside_a_call_is_detected_as_a_loop() -> None:
    parser = ReplyParser([END_CALL], NOISE)
    assert parser.feed('{"name": ' + "no " * 20) == ""
    assert parser.is_looping


PARTS = st.sampled_from(
    [
        *("((", "((noise))", "noise", ")", ".", " ", "\n", "{", "}", '"name"', CALL),
        *("<", "<func", "<function", "tion", "<|python", "_tag|>", "<|python_tag|>"),
        *("assistant", "Assistant:", "user", ":", "ai", "ß", "Hello there", "İ"),
    ]
)


@given(st.lists(PARTS | st.text(max_size=4), max_size=10), st.booleans(), st.data())
def test_result_is_independent_of_how_the_reply_is_split(
    parts: list[str], tools: bool, data: st.DataObject
) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    for streamed in (pieces, list(text)):
        texts, end = feed(*streamed, tools=tools)
        (whole,), whole_end = feed(text, tools=tools)
        assert "".join(texts) + end.text == whole + whole_end.text
        assert (end.call, end.noise) == (whole_end.call, whole_end.noise)
