from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.engines.llm.small.llama import (
    BATCH_TOKENS,
    Abort,
    LanguageModel,
    Logits,
    choose,
    common,
)
from appliance.errors import EngineFailed, MissingWeights, UnreadableModel

RANDOM = np.random.default_rng(0)
CALM = Abort()


@pytest.fixture(autouse=True)
def _nothing_cached(small_model: LanguageModel) -> Iterator[None]:
    yield
    for owner in "abc":
        small_model.release(owner)


def words(count: int, seed: int = 0) -> list[int]:
    return [int(t) for t in np.random.default_rng(seed).integers(1000, 30_000, count)]


def scores(model: LanguageModel, owner: str, tokens: list[int]) -> tuple[Logits, int]:
    """What the model says comes next, and how many tokens it had to run for that."""
    evaluated = 0
    while True:
        step = model.advance(owner, tokens, CALM)
        assert step is not None
        evaluated += step.evaluated
        if step.logits is not None:
            assert step.missing == 0
            return step.logits, evaluated


def test_a_prompt_runs_in_small_batches(small_model: LanguageModel) -> None:
    step = small_model.advance("a", words(BATCH_TOKENS + 10), CALM)
    assert step is not None
    assert (step.evaluated, step.missing, step.logits) == (BATCH_TOKENS, 10, None)


def test_only_what_is_new_is_run(small_model: LanguageModel) -> None:
    prompt = words(50)
    assert scores(small_model, "a", prompt)[1] == 50
    assert scores(small_model, "a", [*prompt, 1234])[1] == 1
    assert scores(small_model, "a", [*prompt[:40], *words(5, seed=1)])[1] == 5


def test_a_prompt_that_was_warmed_costs_nothing(small_model: LanguageModel) -> None:
    prompt = words(50)
    warmed, _ = scores(small_model, "a", prompt)
    again, evaluated = scores(small_model, "a", prompt)
    assert evaluated == 0
    assert np.array_equal(warmed, again)
    assert small_model.cached("a", prompt) == 50


def test_the_cache_changes_nothing_about_the_answer(small_model: LanguageModel) -> None:
    shared, prompt = words(60), words(30, seed=1)
    fresh, _ = scores(small_model, "a", [*shared, *prompt])
    scores(small_model, "b", [*shared, *words(40, seed=2)])
    reused, _ = scores(small_model, "b", [*shared, *prompt])
    other, _ = scores(small_model, "b", [*prompt, *shared])
    # Batches of another size round otherwise, hence not equal.
    assert np.corrcoef(fresh, reused)[0, 1] > 0.999 > np.corrcoef(fresh, other)[0, 1]


def test_going_back_to_a_shorter_prompt_forgets_the_rest(small_model: LanguageModel) -> None:
    prompt = words(50)
    first, _ = scores(small_model, "a", prompt)
    scores(small_model, "a", [*prompt, *words(20, seed=1)])
    again, evaluated = scores(small_model, "a", prompt)
    assert evaluated == 1
    assert first.argmax() == again.argmax()


def test_conversations_do_not_touch_each_other(small_model: LanguageModel) -> None:
    one, other = words(40), words(40, seed=1)
    alone, _ = scores(small_model, "a", one)
    scores(small_model, "b", other)
    scores(small_model, "b", [*other, *words(20, seed=2)])
    assert np.array_equal(scores(small_model, "a", one)[0], alone)


def test_with_more_callers_than_slots_the_longest_quiet_one_is_run_again(
    small_model: LanguageModel,
) -> None:
    for owner in "abc":
        scores(small_model, owner, words(20))
    assert small_model.owners == 2
    assert small_model.cached("a", words(20)) == 0
    assert small_model.cached("c", words(20)) == 20


def test_a_released_slot_is_free_for_others(small_model: LanguageModel) -> None:
    scores(small_model, "a", words(20))
    small_model.release("a")
    small_model.release("a")
    assert small_model.owners == 0
    assert small_model.cached("a", words(20)) == 0


def test_a_batch_under_way_is_aborted_and_can_be_run_later(small_model: LanguageModel) -> None:
    prompt, abort = words(BATCH_TOKENS), Abort()
    timer = threading.Timer(0.03, abort.set)
    timer.start()
    stopped = small_model.advance("a", prompt, abort)
    timer.join()
    if stopped is None:  # The batch takes far longer than that on any machine known.
        assert small_model.cached("a", prompt) == 0
    fresh, _ = scores(small_model, "b", prompt)
    assert np.array_equal(scores(small_model, "a", prompt)[0], fresh)


def test_what_was_aborted_before_is_not_begun(small_model: LanguageModel) -> None:
    abort = Abort()
    abort.set()
    assert small_model.advance("a", words(10), abort) is None
    assert small_model.owners == 0


def test_a_prompt_beyond_the_context_is_refused(small_model: LanguageModel) -> None:
    with pytest.raises(EngineFailed):
        small_model.advance("a", words(small_model.context_tokens + 1), CALM)
    with pytest.raises(EngineFailed):
        small_model.advance("a", [], CALM)


@pytest.mark.parametrize("text", ["", "Hello", "naïve 😀 \x00 <|im_end|>", "  two  spaces\n"])
def test_plain_text_survives_the_vocabulary(small_model: LanguageModel, text: str) -> None:
    tokens = small_model.tokenize(text)
    assert b"".join(map(small_model.piece, tokens)).decode() == text
    assert not any(map(small_model.is_control, tokens))


def test_control_tokens_are_known_by_name_and_have_no_text(small_model: LanguageModel) -> None:
    end = small_model.control("<|im_end|>")
    assert end is not None
    assert small_model.piece(end) == b""
    assert small_model.control("hello") is None


def test_cold_answers_are_the_likeliest_and_warm_ones_vary() -> None:
    logits = RANDOM.normal(size=500).astype(np.float32)
    assert {choose(logits, 0, RANDOM) for _ in range(5)} == {int(logits.argmax())}
    drawn = {choose(logits, 1.5, RANDOM) for _ in range(200)}
    assert len(drawn) > 5
    assert drawn <= set(np.argsort(logits)[-40:].tolist())


def test_common_beginnings_are_counted() -> None:
    assert common([1, 2, 3], [1, 2, 4]) == 2
    assert common([1, 2], [1, 2, 3]) == 2
    assert common([], [1]) == 0


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"none\.gguf"):
        LanguageModel(tmp_path / "none.gguf", 1, 512, 1)


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(UnreadableModel):
        LanguageModel(tmp_path / "bad.gguf", 1, 512, 1)
