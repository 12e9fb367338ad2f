"""Prompts in Llama 3.1's chat format, compared with those recorded from the authors' code."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from appliance.engines.llm.vllm.audio import count_audio_tokens
from appliance.engines.llm.vllm.prompt import Llama3Format, Prompt
from appliance.engines.llm.vllm.tools import render_call
from appliance.errors import BadRequest
from appliance.link.engine import ChatMessage, Tool, ToolCall
from tests.engines.llm.vllm.texts import GOLDEN, TEXTS, vocabulary

TODAY = "26 Jul 2024"
FILLER = 510  # token at each position of a clip in the reference

CONVERSATIONS = {
    "one_1s": [ChatMessage("user", utterance=1)],
    "sys_2.4s": [
        ChatMessage("system", "You are a helpful assistant."),
        ChatMessage("user", "Transcribe", utterance=1),
    ],
    "multi": [
        ChatMessage("system", "You are helpful."),
        ChatMessage("user", utterance=1),
        ChatMessage("assistant", "hello there"),
        ChatMessage("user", utterance=2),
    ],
    "long45": [ChatMessage("user", utterance=1)],
}


def build(
    turns: Sequence[ChatMessage],
    tools: Sequence[Tool] = (),
    clips: dict[int, int] | None = None,
    max_tokens: int = 100_000,
) -> Prompt:
    return Llama3Format(vocabulary()).build_prompt(turns, tools, TODAY, clips or {}, max_tokens)


def render(prompt: Prompt) -> str:
    """Render the prompt as text, with special tokens by name."""
    names = {
        vocabulary().special(name): name
        for name in ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    } | {vocabulary().audio: "<|audio|>"}
    text, run = "", list[int]()
    for token in (*prompt.tokens, vocabulary().special("<|eom_id|>")):
        if token < vocabulary().size:
            run.append(token)
        else:
            text += vocabulary().decode(run) + names.get(token, "")
            run = []
    return text


def render_dialogue(prompt: Prompt) -> str:
    """Render the prompt as `render` does, without the system block."""
    return render(prompt).partition("<|eot_id|>")[2]


@pytest.mark.parametrize("case", CONVERSATIONS)
def test_prompt_equals_the_one_recorded_from_the_authors_code(case: str) -> None:
    reference = json.loads((GOLDEN / "reference.json").read_text(encoding="utf-8"))[case]
    with np.load(GOLDEN / "audio.npz") as audio:
        clips = {
            n: count_audio_tokens(len(audio[name])) for n, name in enumerate(reference["audio"], 1)
        }
    prompt = build(CONVERSATIONS[case], clips=clips)
    assert list(expand(prompt, clips)) == reference["input_ids"]
    assert prompt.length == len(reference["input_ids"])
    assert prompt.clips == tuple(clips)


def expand(prompt: Prompt, clips: dict[int, int]) -> Iterator[int]:
    """Return the prompt's tokens with FILLER in place of each clip."""
    remaining = iter(prompt.clips)
    for token in prompt.tokens:
        yield from [FILLER] * clips[next(remaining)] if token == vocabulary().audio else [token]


def test_system_block_is_present_without_a_system_prompt() -> None:
    assert render(build([ChatMessage("user", "hi")])) == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_tools_are_defined_in_the_system_block_and_results_have_the_ipython_role() -> None:
    tool = Tool("current_time", "Tells the time.", '{"type": "object", "properties": {}}')
    turns = [
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "What time is it?"),
        ChatMessage("assistant", render_call(ToolCall("current_time", "{}"))),
        ChatMessage("tool", '{"time": "ten"}'),
    ]
    system, _, rest = render(build(turns, [tool])).partition("<|eot_id|>")
    assert "\n\nEnvironment: ipython\nCutting Knowledge Date:" in system
    assert "You have access to the following functions." in system
    assert system.endswith("}\n\nBe brief.")
    assert rest == (
        "<|start_header_id|>user<|end_header_id|>\n\nWhat time is it?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
        '{"name": "current_time", "parameters": {}}<|eot_id|>'
        '<|start_header_id|>ipython<|end_header_id|>\n\n{"time": "ten"}<|eot_id|>'
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_tool_result_that_is_not_json_becomes_a_string() -> None:
    turns = [
        ChatMessage("user", "a"),
        ChatMessage("assistant", "b"),
        ChatMessage("tool", 'it is "ten"'),
    ]
    assert 'ipython<|end_header_id|>\n\n"it is \\"ten\\""<|eot_id|>' in render(build(turns))


def test_texts_are_stripped() -> None:
    text = render(build([ChatMessage("system", " Be brief.\n"), ChatMessage("user", "\n hi \t")]))
    assert "\n\nBe brief.<|eot_id|>" in text
    assert "\n\nhi<|eot_id|>" in text


def test_consecutive_turns_of_one_role_are_merged_with_their_clips() -> None:
    turns = [
        ChatMessage("user", "one", utterance=4),
        ChatMessage("user", utterance=9),
        ChatMessage("user", "two"),
        ChatMessage("assistant", "a"),
        ChatMessage("assistant", "b"),
        ChatMessage("user", "three"),
    ]
    prompt = build(turns, clips={4: 10, 9: 20})
    assert render_dialogue(prompt) == (
        "<|start_header_id|>user<|end_header_id|>\n\n"
        "one\n<|audio|>\n<|audio|>\ntwo<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\na\nb<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nthree<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert prompt.clips == (4, 9)
    assert prompt.length == len(prompt.tokens) - 2 + 10 + 20


def test_turns_without_text_or_speech_are_omitted() -> None:
    prompt = build(
        [ChatMessage("user", "hi"), ChatMessage("assistant", " "), ChatMessage("user", utterance=3)]
    )
    assert prompt == build([ChatMessage("user", "hi")])


def test_prompt_of_a_conversation_is_a_prefix_of_the_next_one() -> None:
    turns = [
        ChatMessage("system", "s"),
        ChatMessage("user", "hi"),
        ChatMessage("assistant", "Hello."),
    ]
    prefix = build(turns).tokens
    assert build([*turns, ChatMessage("user", "And?")]).tokens[: len(prefix)] == prefix
    assert render_dialogue(build(turns[:1])) == ""


def make_questions(count: int) -> list[ChatMessage]:
    turns = [ChatMessage("system", "Be brief.")]
    for number in range(count):
        turns += [
            ChatMessage("user", utterance=number),
            ChatMessage("assistant", f"answer {number}"),
        ]
    return turns[:-1]


def test_long_conversation_drops_its_oldest_questions_in_large_steps() -> None:
    clips = dict.fromkeys(range(20), 30)
    complete = build(make_questions(10), clips=clips)
    trimmed = build(make_questions(10), clips=clips, max_tokens=complete.length - 1)
    assert trimmed.clips == tuple(range(4, 10))
    assert trimmed.tokens[:60] == complete.tokens[:60]  # the system block
    assert render_dialogue(trimmed).startswith("<|start_header_id|>user")
    # The next question leaves the start of the prompt unchanged, so the cache stays valid.
    longer = build(make_questions(11), clips=clips, max_tokens=complete.length - 1)
    assert longer.tokens[: len(trimmed.tokens)] == trimmed.tokens


def test_last_question_and_system_block_are_never_dropped() -> None:
    clips = dict.fromkeys(range(20), 30)
    last = build([make_questions(10)[0], make_questions(10)[-1]], clips=clips)
    assert build(make_questions(10), clips=clips, max_tokens=last.length) == last
    with pytest.raises(BadRequest, match="longer than its context"):
        build(make_questions(10), clips=clips, max_tokens=last.length - 1)


TURNS = st.lists(
    st.builds(
        ChatMessage,
        st.sampled_from(["system", "user", "assistant", "tool"]),
        TEXTS,
        st.none() | st.integers(0, 5),
    ),
    max_size=8,
)
TOOLS = st.lists(
    st.builds(
        lambda name, description, parameter: Tool(
            name, description, json.dumps({"type": "object", "properties": {parameter: {}}})
        ),
        *[TEXTS] * 3,
    ),
    max_size=2,
)


@given(TURNS, TOOLS, TEXTS, st.dictionaries(st.integers(0, 5), st.integers(1, 400)))
def test_texts_never_add_special_tokens_to_a_prompt(
    turns: list[ChatMessage], tools: list[Tool], today: str, clips: dict[int, int]
) -> None:
    prompt = Llama3Format(vocabulary()).build_prompt(turns, tools, today, clips, 1_000_000)
    special = Counter(token for token in prompt.tokens if token >= vocabulary().size)
    ended = special.pop(vocabulary().special("<|eot_id|>"))
    opened = special.pop(vocabulary().special("<|start_header_id|>"))
    assert opened == special.pop(vocabulary().special("<|end_header_id|>"))
    assert ended <= opened <= ended + 1
    assert special.pop(vocabulary().special("<|begin_of_text|>")) == 1
    assert special.pop(vocabulary().audio, 0) == len(prompt.clips)
    assert not special


@given(TURNS, st.dictionaries(st.integers(0, 5), st.integers(1, 400)), st.integers(0, 2_000))
def test_prompt_has_a_placeholder_for_every_clip_and_fits(
    turns: list[ChatMessage], clips: dict[int, int], max_tokens: int
) -> None:
    try:
        prompt = build(turns, clips=clips, max_tokens=max_tokens)
    except BadRequest:
        assume(False)
    assert len(list(expand(prompt, clips))) == prompt.length <= max_tokens
    assert all(clip in clips for clip in prompt.clips)
    assert all(a != b for a, b in itertools.pairwise(parse_roles(prompt)))


def parse_roles(prompt: Prompt) -> Iterator[str]:
    """Yield the role of each message. Looks for header token ids: text can look like a header."""
    header, end = (vocabulary().special(f"<|{name}_header_id|>") for name in ("start", "end"))
    for position, token in enumerate(prompt.tokens):
        if token == header:
            yield vocabulary().decode(
                list(prompt.tokens[position + 1 : prompt.tokens.index(end, position)])
            )
