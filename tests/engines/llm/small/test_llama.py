"""The language model, called directly and in its thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.engines.llm.small.engine import SmallEngine
from appliance.engines.llm.small.llama import (
    BATCH_TOKENS,
    AbortFlag,
    LanguageModel,
    RunningStep,
    common_prefix,
)
from appliance.engines.llm.small.llama_thread import DEFAULT_STEP_TOKENS, AsyncLanguageModel
from appliance.engines.llm.small.priority import JobPriority
from appliance.engines.llm.small.sampling import Logits, sample_token
from appliance.errors import EngineFailed, MissingWeights, UnreadableModel

RANDOM = np.random.default_rng(0)
NO_ABORT = AbortFlag()


@pytest.fixture(autouse=True)
def _empty_cache(language_model: LanguageModel) -> Iterator[None]:
    yield
    for owner in "abc":
        language_model.release(owner)


def make_tokens(count: int, seed: int = 0) -> list[int]:
    return [int(t) for t in np.random.default_rng(seed).integers(1000, 30_000, count)]


def scores(model: LanguageModel, owner: str, tokens: list[int]) -> tuple[Logits, int]:
    """Return the scores of the next token and the number of tokens evaluated for them."""
    evaluated = 0
    while True:
        result = model.advance(owner, tokens, NO_ABORT)
        assert result is not None
        evaluated += result.evaluated
        if result.logits is not None:
            assert result.missing == 0
            return result.logits, evaluated


def test_prompt_is_processed_in_batches(language_model: LanguageModel) -> None:
    result = language_model.advance("a", make_tokens(BATCH_TOKENS + 10), NO_ABORT)
    assert result is not None
    assert (result.evaluated, result.missing, result.logits) == (BATCH_TOKENS, 10, None)


def test_step_can_be_shorter_than_a_batch(language_model: LanguageModel) -> None:
    result = language_model.advance("a", make_tokens(BATCH_TOKENS), NO_ABORT, step_tokens=16)
    assert result is not None
    assert (result.evaluated, result.missing) == (16, BATCH_TOKENS - 16)


def test_step_helps_a_later_request_if_all_its_tokens_are_needed() -> None:
    owner = object()
    step = RunningStep(owner, (1, 2, 3))
    assert step.helps(owner, [1, 2, 3])
    assert step.helps(owner, [1, 2, 3, 4])
    assert not step.helps(owner, [1, 2])
    assert not step.helps(owner, [1, 2, 4, 5])
    assert not step.helps(object(), [1, 2, 3])


def test_cached_prefix_is_not_evaluated_again(language_model: LanguageModel) -> None:
    prompt = make_tokens(50)
    assert scores(language_model, "a", prompt)[1] == 50
    assert scores(language_model, "a", [*prompt, 1234])[1] == 1
    assert scores(language_model, "a", [*prompt[:40], *make_tokens(5, seed=1)])[1] == 5


def test_cached_prompt_needs_no_evaluation(language_model: LanguageModel) -> None:
    prompt = make_tokens(50)
    first, _ = scores(language_model, "a", prompt)
    again, evaluated = scores(language_model, "a", prompt)
    assert evaluated == 0
    assert np.array_equal(first, again)
    assert language_model.cached("a", prompt) == 50


def test_prompt_of_a_cancelled_reply_needs_no_evaluation(language_model: LanguageModel) -> None:
    prompt = make_tokens(50)
    first = language_model.advance("a", prompt, NO_ABORT, is_prompt=True)
    assert first is not None
    scores(language_model, "a", [*prompt, *make_tokens(3, seed=1)])
    assert language_model.cached("a", prompt) == 50
    again, evaluated = scores(language_model, "a", prompt)
    assert evaluated == 0
    assert first.logits is not None
    assert np.array_equal(first.logits, again)
    reply = [*prompt, 1234]
    assert scores(language_model, "a", reply)[1] == 1
    other = [*prompt[:40], *make_tokens(10, seed=2)]
    assert scores(language_model, "a", other)[1] == 10
    assert language_model.cached("a", prompt) == 40


def test_scores_are_the_same_with_and_without_cache(language_model: LanguageModel) -> None:
    shared, prompt = make_tokens(60), make_tokens(30, seed=1)
    fresh, _ = scores(language_model, "a", [*shared, *prompt])
    scores(language_model, "b", [*shared, *make_tokens(40, seed=2)])
    reused, _ = scores(language_model, "b", [*shared, *prompt])
    other, _ = scores(language_model, "b", [*prompt, *shared])
    # Not equal, because batches of different sizes round differently.
    assert np.corrcoef(fresh, reused)[0, 1] > 0.999 > np.corrcoef(fresh, other)[0, 1]


def test_shorter_prompt_truncates_the_cache(language_model: LanguageModel) -> None:
    prompt = make_tokens(50)
    first, _ = scores(language_model, "a", prompt)
    scores(language_model, "a", [*prompt, *make_tokens(20, seed=1)])
    again, evaluated = scores(language_model, "a", prompt)
    assert evaluated == 1
    assert first.argmax() == again.argmax()


def test_conversations_do_not_affect_each_other(language_model: LanguageModel) -> None:
    one, other = make_tokens(40), make_tokens(40, seed=1)
    alone, _ = scores(language_model, "a", one)
    scores(language_model, "b", other)
    scores(language_model, "b", [*other, *make_tokens(20, seed=2)])
    assert np.array_equal(scores(language_model, "a", one)[0], alone)


def test_least_recently_used_owner_loses_its_cache(
    language_model: LanguageModel,
) -> None:
    for owner in "abc":
        scores(language_model, owner, make_tokens(20))
    assert language_model.owners == 2
    assert language_model.cached("a", make_tokens(20)) == 0
    assert language_model.cached("c", make_tokens(20)) == 20


def test_released_slot_can_be_reused(language_model: LanguageModel) -> None:
    scores(language_model, "a", make_tokens(20))
    language_model.release("a")
    language_model.release("a")
    assert language_model.owners == 0
    assert language_model.cached("a", make_tokens(20)) == 0


def test_prompt_that_begins_with_the_snapshot_starts_from_it(language_model: LanguageModel) -> None:
    system, rest = make_tokens(40, seed=5), make_tokens(10, seed=1)
    fresh, _ = scores(language_model, "a", [*system, *rest])
    scores(language_model, "a", system)
    language_model.keep_snapshot("a")
    language_model.release("a")
    assert language_model.cached("b", [*system, *rest]) == 40
    copied, evaluated = scores(language_model, "b", [*system, *rest])
    assert evaluated == 10
    assert np.corrcoef(fresh, copied)[0, 1] > 0.999
    assert copied.argmax() == fresh.argmax()
    # Another prompt does not use it, and this one does again afterwards.
    assert scores(language_model, "b", rest)[1] == 10
    assert scores(language_model, "b", [*system, *rest])[1] == 10
    assert scores(language_model, "b", [*system, *rest, 1234])[1] == 1


def test_aborted_batch_can_be_evaluated_later(language_model: LanguageModel) -> None:
    prompt, abort = make_tokens(BATCH_TOKENS), AbortFlag()
    timer = threading.Timer(0.03, abort.set)
    timer.start()
    stopped = language_model.advance("a", prompt, abort)
    timer.join()
    if stopped is None:  # far less than a batch takes on any known machine
        assert language_model.cached("a", prompt) == 0
    fresh, _ = scores(language_model, "b", prompt)
    assert np.array_equal(scores(language_model, "a", prompt)[0], fresh)


def test_batch_aborted_beforehand_is_not_started(language_model: LanguageModel) -> None:
    abort = AbortFlag()
    abort.set()
    assert language_model.advance("a", make_tokens(10), abort) is None
    assert language_model.owners == 0


def test_empty_or_too_long_prompt_is_refused(
    language_model: LanguageModel,
) -> None:
    with pytest.raises(EngineFailed):
        language_model.advance("a", make_tokens(language_model.context_tokens + 1), NO_ABORT)
    with pytest.raises(EngineFailed):
        language_model.advance("a", [], NO_ABORT)


@pytest.mark.parametrize("text", ["", "Hello", "naïve 😀 \x00 <|im_end|>", "  two  spaces\n"])
def test_plain_text_is_tokenized_without_control_tokens_and_restored(
    language_model: LanguageModel, text: str
) -> None:
    tokens = language_model.tokenize(text)
    assert b"".join(map(language_model.piece, tokens)).decode() == text
    assert not any(map(language_model.is_control, tokens))


def test_control_tokens_have_a_name_but_no_text(language_model: LanguageModel) -> None:
    end = language_model.control("<|im_end|>")
    assert end is not None
    assert language_model.piece(end) == b""
    assert language_model.control("hello") is None


def test_zero_temperature_is_greedy_and_higher_temperatures_sample() -> None:
    logits = RANDOM.normal(size=500).astype(np.float32)
    assert {sample_token(logits, 0, RANDOM) for _ in range(5)} == {int(logits.argmax())}
    drawn = {sample_token(logits, 1.5, RANDOM) for _ in range(200)}
    assert len(drawn) > 5
    assert drawn <= set(np.argsort(logits)[-40:].tolist())


def test_common_prefix_is_counted() -> None:
    assert common_prefix([1, 2, 3], [1, 2, 4]) == 2
    assert common_prefix([1, 2], [1, 2, 3]) == 2
    assert common_prefix([], [1]) == 0


def test_missing_model_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"none\.gguf"):
        LanguageModel(tmp_path / "none.gguf", 1, 512, 1)


def test_damaged_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(UnreadableModel):
        LanguageModel(tmp_path / "bad.gguf", 1, 512, 1)


@pytest.fixture
async def threaded(engine: SmallEngine) -> AsyncIterator[AsyncLanguageModel]:
    """The language model of the engine."""
    yield engine.language_model
    for owner in "ab":
        await engine.language_model.release(owner)


PROMPT = make_tokens(BATCH_TOKENS * 2 + 10)


async def prefill(model: AsyncLanguageModel, owner: str, tokens: list[int]) -> Logits | None:
    return await model.prefill(owner, tokens, lambda: JobPriority.GENERATE, NO_ABORT)


async def cached(model: AsyncLanguageModel, owner: str, tokens: list[int]) -> int:
    return await model.cached(owner, tokens, JobPriority.GENERATE)


async def test_prefill_processes_a_prompt_longer_than_a_batch(threaded: AsyncLanguageModel) -> None:
    logits = await prefill(threaded, "a", PROMPT)
    assert logits is not None
    assert len(logits) == threaded.model.vocabulary_tokens
    assert await cached(threaded, "a", PROMPT) == len(PROMPT)


async def test_aborted_prefill_has_no_next_token(threaded: AsyncLanguageModel) -> None:
    abort = AbortFlag()
    abort.set()
    assert await threaded.prefill("a", PROMPT, lambda: JobPriority.GENERATE, abort) is None
    assert await cached(threaded, "a", PROMPT) == 0


async def running_prefill(
    model: AsyncLanguageModel, abort: AbortFlag
) -> asyncio.Future[Logits | None]:
    """Start a prefill of PROMPT, and return when its first step is running."""
    task = asyncio.ensure_future(model.prefill("a", PROMPT, lambda: JobPriority.PREFILL, abort))
    async with asyncio.timeout(20):
        while model.model.running is None:
            await asyncio.sleep(0)
    return task


async def test_step_that_a_later_request_needs_is_completed_but_no_further_one(
    threaded: AsyncLanguageModel,
) -> None:
    abort = AbortFlag()
    task = await running_prefill(threaded, abort)
    threaded.supersede("a", abort, [*PROMPT, 1234])
    assert await task is None
    assert await cached(threaded, "a", PROMPT) == DEFAULT_STEP_TOKENS


async def test_step_that_a_later_request_does_not_need_is_aborted(
    threaded: AsyncLanguageModel,
) -> None:
    abort = AbortFlag()
    task = await running_prefill(threaded, abort)
    threaded.supersede("a", abort, [1234, *PROMPT])
    assert await task is None
    assert await cached(threaded, "a", PROMPT) == 0


async def test_owners_share_the_thread_but_not_the_cache(threaded: AsyncLanguageModel) -> None:
    one, other = await asyncio.gather(
        prefill(threaded, "a", PROMPT),
        threaded.prefill("b", PROMPT[:-1], lambda: JobPriority.PREFILL, NO_ABORT),
    )
    assert one is not None
    assert other is not None
    await threaded.release("a")
    assert await cached(threaded, "a", PROMPT) == 0
    assert await cached(threaded, "b", PROMPT[:-1]) == len(PROMPT) - 1


async def test_request_before_load_fails() -> None:
    model = AsyncLanguageModel()
    with pytest.raises(EngineFailed):
        await prefill(model, "a", [1])
    await model.stop()
    with pytest.raises(EngineFailed):
        await model.release("a")


async def test_request_after_stop_fails(model_path: Path) -> None:
    model = AsyncLanguageModel()
    await model.load(model_path, threads=1, context_tokens=64, slots=1)
    assert await prefill(model, "a", PROMPT[:8]) is not None
    await model.stop()
    with pytest.raises(EngineFailed):
        await prefill(model, "a", PROMPT[:8])
