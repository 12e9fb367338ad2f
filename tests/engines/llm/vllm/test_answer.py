from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm.vllm.answer import Answer, Ending
from appliance.link.engine import Tool, ToolCall

END = Tool("end_call", "Ends the call.", '{"type": "object", "properties": {}}')
CALL = '{"name": "end_call", "parameters": {}}'
NOISE = "((noise))"


def through(*pieces: str, tools: bool = True, noise: str = NOISE) -> tuple[list[str], Ending]:
    answer = Answer([END] if tools else [], noise)
    return [answer.add(piece) for piece in pieces], answer.finish()


def letters(text: str, tools: bool = True) -> tuple[str, Ending]:
    spoken, ending = through(*text, tools=tools)
    return "".join(spoken), ending


def test_speech_comes_as_soon_as_it_is_certain() -> None:
    spoken, ending = through("It", " is", " ten", ".")
    assert spoken == ["It", " is", " ten", "."]
    assert ending == Ending()


@pytest.mark.parametrize("text", [CALL, f"\n {CALL}\n", f"assistant\n\n{CALL}"])
def test_a_call_is_never_spoken(text: str) -> None:
    assert letters(text) == ("", Ending(call=ToolCall("end_call", "{}")))


@pytest.mark.parametrize(
    "text",
    ["{", CALL[:-3], "<function=end_call>{}</function>", '{"name": "launch", "parameters": {}}'],
)
def test_what_only_begins_like_one_is_a_call_without_a_name(text: str) -> None:
    assert letters(text) == ("", Ending(call=ToolCall()))


def test_a_call_after_words_is_not_made_and_not_spoken() -> None:
    assert letters(f"One moment. {CALL}") == ("One moment. ", Ending(call=ToolCall()))


@pytest.mark.parametrize("text", ["Two < three <function", "A set {1, 2} of numbers.", "x <"])
def test_speech_with_a_brace_in_it_is_spoken_to_the_end(text: str) -> None:
    spoken, ending = letters(text)
    assert spoken + ending.text == text
    assert ending.call is None


@pytest.mark.parametrize("text", [CALL, "{smiles} Hello."])
def test_without_tools_nothing_is_a_call(text: str) -> None:
    assert letters(text, tools=False) == (text, Ending())


@pytest.mark.parametrize("text", [NOISE, f" {NOISE}\n", f"{NOISE}.", "((Noise))", f"{NOISE} . "])
@pytest.mark.parametrize("tools", [True, False])
def test_the_noise_reply_is_never_spoken(text: str, tools: bool) -> None:
    assert letters(text, tools) == ("", Ending(noise=True))
    assert through(text) == ([""], Ending(noise=True))


@pytest.mark.parametrize("text", ["((noise)) in the street", "((", "(noise)", "noise", "((noisy))"])
def test_what_is_only_like_it_is_speech(text: str) -> None:
    spoken, ending = letters(text)
    assert spoken + ending.text == text
    assert not ending.noise


def test_a_model_that_has_no_word_for_noise_never_says_it() -> None:
    assert through("", " ", noise="") == (["", ""], Ending())
    assert through(NOISE, noise="")[0] == [NOISE]


@pytest.mark.parametrize("text", ["assistant\n\nParis.", "Assistant: Paris."])
def test_a_leading_role_is_not_spoken(text: str) -> None:
    spoken, ending = letters(text)
    assert spoken + ending.text == "Paris."


def test_a_reply_that_goes_in_circles_is_noticed() -> None:
    answer = Answer([], NOISE)
    answer.add("You should bring a jacket and a warm hat. ")
    assert not answer.loops
    answer.add("You should bring a jacket and a warm hat. ")
    assert answer.loops


def test_so_is_a_call_that_does() -> None:
    answer = Answer([END], NOISE)
    assert answer.add('{"name": ' + "no " * 20) == ""
    assert answer.loops


PARTS = st.sampled_from(
    [
        *("((", "((noise))", "noise", ")", ".", " ", "\n", "{", "}", '"name"', CALL),
        *("<", "<func", "<function", "tion", "<|python", "_tag|>", "<|python_tag|>"),
        *("assistant", "Assistant:", "user", ":", "ai", "ß", "Hello there", "İ"),
    ]
)


@given(st.lists(PARTS | st.text(max_size=4), max_size=10), st.booleans(), st.data())
def test_whatever_the_pieces_the_answer_is_the_same(
    parts: list[str], tools: bool, data: st.DataObject
) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    for streamed in (pieces, list(text)):
        spoken, ending = through(*streamed, tools=tools)
        (whole,), at_once = through(text, tools=tools)
        assert "".join(spoken) + ending.text == whole + at_once.text
        assert (ending.call, ending.noise) == (at_once.call, at_once.noise)
