"""Reconstruction of conversations from recorded cases, and the result of a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from appliance.engines.llm.vllm.audio import count_audio_tokens
from appliance.engines.llm.vllm.prompt import Llama3Format
from tests.engines.llm.vllm.texts import vocabulary
from tests.golden.clips import Clips, to_int16
from tests.golden.comparison import Comparison
from tests.golden.reference import FOLDERS, Reference
from tests.golden.synthetic import SECONDS, SEED, synthesize, write_checkpoint

FIRST, SECOND = FOLDERS


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(FIRST)


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def each_reference(request: pytest.FixtureRequest) -> Reference:
    return Reference(request.param)


def test_reconstructed_conversations_match_the_recording(reference: Reference) -> None:
    conversations = {}
    for case in reference.cases:
        seconds = {utterance.id: utterance.seconds for utterance in reference.utterances(case)}
        conversations[case.name] = [
            (turn.role, turn.text, seconds[turn.utterance] if turn.utterance else 0)
            for turn in reference.conversation(case)
        ]
    expected = {
        "one_1s": [("user", "", 1.0)],
        "sys_2.4s": [
            ("system", "You are a helpful assistant.", 0),
            ("user", "Transcribe", 2.37),
        ],
        "multi": [
            ("system", "You are helpful.", 0),
            ("user", "", 2.37),
            ("assistant", "hello there", 0),
            ("user", "", 5.0),
        ],
        "long45": [("user", "", 45.0)],
    }
    assert {name: conversations[name] for name in expected} == expected
    assert [turn[2] for turn in conversations["four_same_first_last"] if turn[0] == "user"] == [
        2.37, 1.0, 0.51, 2.37,
    ]  # fmt: skip


def test_prompts_are_those_of_the_model_authors(each_reference: Reference) -> None:
    for case in each_reference.cases:
        clips = {
            utterance.id: count_audio_tokens(len(utterance.pcm) // 2)
            for utterance in each_reference.utterances(case)
        }
        prompt = Llama3Format(vocabulary()).build_prompt(
            each_reference.conversation(case), [], each_reference.today, clips, 10_000
        )
        remaining, tokens = iter(clips.values()), list[int]()
        for token in prompt.tokens:
            is_clip = token == vocabulary().audio
            tokens += [each_reference.filler] * next(remaining) if is_clip else [token]
        assert tokens == case.prompt
        assert prompt.clips == tuple(clips)


def test_date_matches_the_recording(each_reference: Reference) -> None:
    assert each_reference.today == "26 Jul 2024"


def test_probabilities_sum_to_one(each_reference: Reference) -> None:
    for case in each_reference.cases:
        assert np.exp(case.logprobs).sum() == pytest.approx(1)
        assert case.logprobs.argmax() == case.greedy[0]


def test_clips_of_a_conversation_are_recorded_one_by_one() -> None:
    several = 0
    for folder in FOLDERS:
        for case in json.loads((folder / "reference.json").read_text(encoding="utf-8")).values():
            is_one = len(case["audio"]) == 1
            assert case["recorded"] == ("whole" if is_one else "clip by clip")
            several += not is_one
    assert several >= 10


def test_every_clip_has_an_id_of_its_own(each_reference: Reference) -> None:
    utterances = [
        utterance for case in each_reference.cases for utterance in each_reference.utterances(case)
    ]
    assert len({utterance.id for utterance in utterances}) == len(utterances)


def test_clip_can_be_a_part_of_another(tmp_path: Path) -> None:
    np.savez(tmp_path / "audio.npz", a=np.arange(4, dtype=np.float32) / 32768)
    clips = Clips(tmp_path)
    assert clips.pcm("a").tolist() == [0, 1, 2, 3]
    assert clips.pcm("a[1:3]").tolist() == [1, 2]
    assert clips.samples("a[3:4]").tolist() == [3 / 32768]
    with pytest.raises(KeyError):
        clips.pcm("b")


def test_loud_samples_are_clipped_and_do_not_wrap() -> None:
    assert to_int16(np.array([1.5, -1.5], np.float32)).tolist() == [32767, -32768]
    assert to_int16(np.array([7, -7], np.int16)).tolist() == [7, -7]


def test_second_folder_is_made_by_its_script(tmp_path: Path) -> None:
    random = np.random.default_rng(SEED)
    write_checkpoint(tmp_path / "checkpoint", random)
    for file in (SECOND / "checkpoint").iterdir():
        assert (tmp_path / "checkpoint" / file.name).read_bytes() == file.read_bytes(), file
    audio = synthesize(random, SECONDS)
    assert np.abs(audio.astype(int) - Clips(SECOND).pcm("b31")).max() <= 32  # one step of rounding


@pytest.mark.parametrize(
    ("comparison", "passes"),
    [
        (Comparison("equal", 16, 16, 0.009, 512), True),
        (Comparison("another token", 15, 16, 0.0, 512), False),
        (Comparison("too far off", 16, 16, 0.01, 512), False),
    ],
    ids=lambda value: getattr(value, "case", ""),
)
def test_case_passes_with_equal_tokens_and_close_log_probabilities(
    comparison: Comparison, passes: bool
) -> None:
    assert comparison.passes() == passes
