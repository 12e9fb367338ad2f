from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from appliance.engines.llm.vllm.prompt import Llama3Format, Prompt, count_audio_tokens
from appliance.engines.llm.vllm.tools import written
from appliance.errors import BadRequest
from appliance.link.engine import Tool, ToolCall, Turn
from tests.engines.llm.vllm.texts import GOLDEN, TEXTS, sealed

TODAY = "26 Jul 2024"
FILLER = 510  # in the reference, every position of a clip
SECOND = 16_000

CONVERSATIONS = {
    "one_1s": [Turn("user", utterance=1)],
    "sys_2.4s": [
        Turn("system", "You are a helpful assistant."),
        Turn("user", "Transcribe", utterance=1),
    ],
    "multi": [
        Turn("system", "You are helpful."),
        Turn("user", utterance=1),
        Turn("assistant", "hello there"),
        Turn("user", utterance=2),
    ],
    "long45": [Turn("user", utterance=1)],
}


def prompt(
    turns: Sequence[Turn],
    tools: Sequence[Tool] = (),
    clips: dict[int, int] | None = None,
    room: int = 100_000,
) -> Prompt:
    return Llama3Format(sealed()).build_prompt(turns, tools, TODAY, clips or {}, room)


def shown(made: Prompt) -> str:
    """The prompt as it is usually written down."""
    names = {
        sealed().special(name): name
        for name in ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    } | {sealed().audio: "<|audio|>"}
    text, run = "", list[int]()
    for token in (*made.tokens, sealed().special("<|eom_id|>")):
        if token < sealed().size:
            run.append(token)
        else:
            text += sealed().decode(run) + names.get(token, "")
            run = []
    return text


def talk(made: Prompt) -> str:
    """The same without the system block."""
    return shown(made).partition("<|eot_id|>")[2]


@pytest.mark.parametrize("case", CONVERSATIONS)
def test_prompts_are_those_of_the_model_s_authors(case: str) -> None:
    reference = json.loads((GOLDEN / "reference.json").read_text(encoding="utf-8"))[case]
    with np.load(GOLDEN / "audio.npz") as audio:
        clips = {
            n: count_audio_tokens(len(audio[name])) for n, name in enumerate(reference["audio"], 1)
        }
    made = prompt(CONVERSATIONS[case], clips=clips)
    assert list(_expanded(made, clips)) == reference["input_ids"]
    assert made.length == len(reference["input_ids"])
    assert made.clips == tuple(clips)


def _expanded(made: Prompt, clips: dict[int, int]) -> Iterator[int]:
    waiting = iter(made.clips)
    for token in made.tokens:
        yield from [FILLER] * clips[next(waiting)] if token == sealed().audio else [token]


# As the processor counts (and the reference: 8, 15, 32 and 188 + 94 in the golden cases).
@pytest.mark.parametrize(
    ("samples", "tokens"),
    [
        (0, 1),
        (1, 1),
        (SECOND // 20, 1),
        (2560, 1),
        (2561, 2),
        (SECOND, 7),
        (37_920, 15),
        (5 * SECOND, 32),
        (30 * SECOND, 188),
        (30 * SECOND + 1, 189),
        (45 * SECOND, 188 + 94),
        (60 * SECOND, 2 * 188),
        (60 * SECOND + 1, 2 * 188 + 1),
        (95 * SECOND, 3 * 188 + 32),
    ],
)
def test_a_clip_has_as_many_tokens_as_the_processor_makes(samples: int, tokens: int) -> None:
    assert count_audio_tokens(samples) == tokens


@given(st.integers(SECOND // 20, 95 * SECOND))
def test_every_part_of_thirty_seconds_counts_for_itself(samples: int) -> None:
    parts = [min(30 * SECOND, samples - at) for at in range(0, samples, 30 * SECOND)]
    frames = [-(-part // 160) for part in parts]
    assert count_audio_tokens(samples) == sum(-(-count // 16) for count in frames)
    assert (
        count_audio_tokens(samples)
        <= count_audio_tokens(samples + 1)
        <= count_audio_tokens(samples) + 1
    )


def test_the_system_block_is_there_without_a_system_prompt() -> None:
    assert shown(prompt([Turn("user", "hi")])) == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_tools_stand_in_the_system_block_and_results_have_their_role() -> None:
    tool = Tool("current_time", "Tells the time.", '{"type": "object", "properties": {}}')
    turns = [
        Turn("system", "Be brief."),
        Turn("user", "How late is it?"),
        Turn("assistant", written(ToolCall("current_time", "{}"))),
        Turn("tool", '{"time": "ten"}'),
    ]
    made = shown(prompt(turns, [tool]))
    system, _, rest = made.partition("<|eot_id|>")
    assert "\n\nEnvironment: ipython\nCutting Knowledge Date:" in system
    assert "You have access to the following functions." in system
    assert system.endswith("}\n\nBe brief.")
    assert rest == (
        "<|start_header_id|>user<|end_header_id|>\n\nHow late is it?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
        '{"name": "current_time", "parameters": {}}<|eot_id|>'
        '<|start_header_id|>ipython<|end_header_id|>\n\n{"time": "ten"}<|eot_id|>'
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_a_result_that_is_no_json_becomes_a_string() -> None:
    made = talk(prompt([Turn("user", "a"), Turn("assistant", "b"), Turn("tool", 'it is "ten"')]))
    assert 'ipython<|end_header_id|>\n\n"it is \\"ten\\""<|eot_id|>' in made


def test_texts_are_trimmed() -> None:
    made = shown(prompt([Turn("system", " Be brief.\n"), Turn("user", "\n hi \t")]))
    assert "\n\nBe brief.<|eot_id|>" in made
    assert "\n\nhi<|eot_id|>" in made


def test_turns_of_one_role_are_one_turn_with_all_its_clips() -> None:
    turns = [
        Turn("user", "one", utterance=4),
        Turn("user", utterance=9),
        Turn("user", "two"),
        Turn("assistant", "a"),
        Turn("assistant", "b"),
        Turn("user", "three"),
    ]
    made = prompt(turns, clips={4: 10, 9: 20})
    assert talk(made) == (
        "<|start_header_id|>user<|end_header_id|>\n\n"
        "one\n<|audio|>\n<|audio|>\ntwo<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\na\nb<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nthree<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert made.clips == (4, 9)
    assert made.length == len(made.tokens) - 2 + 10 + 20


def test_what_holds_no_speech_and_says_nothing_is_left_out() -> None:
    made = prompt([Turn("user", "hi"), Turn("assistant", " "), Turn("user", utterance=3)])
    assert made == prompt([Turn("user", "hi")])


def test_a_prompt_of_what_was_said_so_far_is_the_beginning_of_the_next() -> None:
    turns = [Turn("system", "s"), Turn("user", "hi"), Turn("assistant", "Hello.")]
    warm = prompt(turns).tokens
    assert prompt([*turns, Turn("user", "And?")]).tokens[: len(warm)] == warm
    assert talk(prompt(turns[:1])) == ""


def questions(count: int) -> list[Turn]:
    turns = [Turn("system", "Be brief.")]
    for number in range(count):
        turns += [Turn("user", utterance=number), Turn("assistant", f"answer {number}")]
    return turns[:-1]


def test_too_long_a_conversation_loses_its_oldest_questions_in_big_steps() -> None:
    clips = dict.fromkeys(range(20), 30)
    whole = prompt(questions(10), clips=clips)
    cut = prompt(questions(10), clips=clips, room=whole.length - 1)
    assert cut.clips == tuple(range(4, 10))
    assert cut.tokens[:60] == whole.tokens[:60]  # the system block
    assert talk(cut).startswith("<|start_header_id|>user")
    # The next question leaves the beginning as it was, and with it what is cached.
    longer = prompt(questions(11), clips=clips, room=whole.length - 1)
    assert longer.tokens[: len(cut.tokens)] == cut.tokens


def test_the_last_question_and_the_system_block_are_never_lost() -> None:
    clips = dict.fromkeys(range(20), 30)
    last = prompt([questions(10)[0], questions(10)[-1]], clips=clips)
    assert prompt(questions(10), clips=clips, room=last.length) == last
    with pytest.raises(BadRequest, match="longer than its context"):
        prompt(questions(10), clips=clips, room=last.length - 1)


TURNS = st.lists(
    st.builds(
        Turn,
        st.sampled_from(["system", "user", "assistant", "tool"]),
        TEXTS,
        st.none() | st.integers(0, 5),
    ),
    max_size=8,
)
TOOLS = st.lists(
    st.builds(
        lambda name, description, given: Tool(
            name, description, json.dumps({"type": "object", "properties": {given: {}}})
        ),
        *[TEXTS] * 3,
    ),
    max_size=2,
)


@given(TURNS, TOOLS, TEXTS, st.dictionaries(st.integers(0, 5), st.integers(1, 400)))
def test_no_text_puts_a_special_token_into_a_prompt(
    turns: list[Turn], tools: list[Tool], today: str, clips: dict[int, int]
) -> None:
    made = Llama3Format(sealed()).build_prompt(turns, tools, today, clips, 1_000_000)
    special = Counter(token for token in made.tokens if token >= sealed().size)
    blocks = special.pop(sealed().special("<|eot_id|>"))
    opened = special.pop(sealed().special("<|start_header_id|>"))
    assert opened == special.pop(sealed().special("<|end_header_id|>"))
    assert blocks <= opened <= blocks + 1
    assert special.pop(sealed().special("<|begin_of_text|>")) == 1
    assert special.pop(sealed().audio, 0) == len(made.clips)
    assert not special


@given(TURNS, st.dictionaries(st.integers(0, 5), st.integers(1, 400)), st.integers(0, 2_000))
def test_a_prompt_has_a_place_for_every_clip_and_fits(
    turns: list[Turn], clips: dict[int, int], room: int
) -> None:
    try:
        made = prompt(turns, clips=clips, room=room)
    except BadRequest:
        assume(False)
    assert len(list(_expanded(made, clips))) == made.length <= room
    assert all(clip in clips for clip in made.clips)
    assert all(a != b for a, b in itertools.pairwise(_roles(made)))


def _roles(made: Prompt) -> Iterator[str]:
    """Read from the tokens, since a text may look like a header."""
    header, end = (sealed().special(f"<|{name}_header_id|>") for name in ("start", "end"))
    for at, token in enumerate(made.tokens):
        if token == header:
            yield sealed().decode(list(made.tokens[at + 1 : made.tokens.index(end, at)]))
