"""A GGUF language model with a cached prompt per conversation.

`LanguageModel` is synchronous and does no background work. Each call of `advance` processes at most
one batch of a prompt, or one token. Another thread can abort the batch. Call all methods except
`tokenize`, `piece`, `control` and `is_control` from one thread; any thread may read `running`.

llama_thread.py runs the model in such a thread. sampling.py chooses tokens from its scores.
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from appliance.engines.llm import NAME
from appliance.engines.llm.small import llama_library as c
from appliance.engines.llm.small.sampling import Logits
from appliance.errors import EngineFailed, MissingWeights, UnreadableModel

# The library's batch: the largest number of prompt tokens per step.
BATCH_TOKENS = 64
# The library calls `bool callback(void *)` between the operations of a batch. A Python callback
# would acquire the GIL a thousand times per token. The C function strlen returns 1 for the string
# "\1" and 0 for "", so setting a single byte aborts a batch.
STRLEN = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p)


class AbortFlag:
    """Stops the requests that share the flag. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._byte = ctypes.create_string_buffer(2)
        self._stopped = False

    def __bool__(self) -> bool:
        return self._stopped

    def set(self) -> None:
        """Abort the current step, and start no later step."""
        self._stopped = True
        self._byte[0] = b"\x01"

    def set_after_step(self) -> None:
        """Let the current step finish, and start no later step."""
        self._stopped = True

    @property
    def address(self) -> int:
        """The memory address that the library reads; valid while this object exists."""
        return ctypes.addressof(self._byte)


@dataclass(slots=True)
class CacheSlot:
    """One sequence of the cache: its tokens, and the scores of the next token.

    `prompt_tokens` and `prompt_logits` are the length of the latest prompt and the scores of its
    reply's first token. They are kept while the reply is decoded, because a reply that was
    cancelled may be requested again.
    """

    index: int
    tokens: list[int] = field(default_factory=list)
    logits: Logits | None = None
    prompt_tokens: int = 0
    prompt_logits: Logits | None = None

    def ends_prompt(self, tokens: Sequence[int]) -> bool:
        """Return whether `tokens` are the latest prompt, and its scores are known."""
        return (
            self.prompt_logits is not None
            and len(tokens) == self.prompt_tokens
            and self.tokens[: self.prompt_tokens] == tokens
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of a cached prompt, as the library serializes it."""

    tokens: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class RunningStep:
    """The step that the model processes: its owner, and the tokens cached when it has finished."""

    owner: Hashable
    tokens: tuple[int, ...]

    def helps(self, owner: Hashable, tokens: Sequence[int]) -> bool:
        """Return whether the step is a part of processing `tokens` for `owner`."""
        return owner is self.owner and common_prefix(self.tokens, tokens) == len(self.tokens)


@dataclass(frozen=True, slots=True)
class AdvanceResult:
    """The outcome of one `advance`.

    evaluated  tokens processed by the model
    missing    tokens left to process; call `advance` again until this is 0
    logits     scores of the next token; None if tokens are missing
    """

    evaluated: int
    missing: int
    logits: Logits | None


class LanguageModel:
    """A model with a cache for `slots` conversations of at most `context_tokens` each."""

    def __init__(self, path: Path, threads: int, context_tokens: int, slots: int) -> None:
        """Load the model. Raises MissingWeights, UnreadableModel or UnsupportedLlamaCpp."""
        if not path.is_file():
            raise MissingWeights(path=path)
        self._library = lib = c.load()
        self._context = self._model = self._batch = None
        model_params = c.model_params(lib)
        model_params.n_gpu_layers = 0
        self._model = lib.llama_model_load_from_file(str(path).encode(), model_params)
        if not self._model:
            raise UnreadableModel(path=path)
        self._vocabulary = lib.llama_model_get_vocab(self._model)
        self.vocabulary_tokens = int(lib.llama_vocab_n_tokens(self._vocabulary))
        self.context_tokens = min(context_tokens, int(lib.llama_model_n_ctx_train(self._model)))
        context_params = c.context_params(lib)
        context_params.n_ctx = self.context_tokens * slots
        context_params.n_seq_max = slots
        context_params.n_batch = context_params.n_ubatch = BATCH_TOKENS
        context_params.n_threads = context_params.n_threads_batch = threads
        self._context = lib.llama_init_from_model(self._model, context_params)
        if not self._context:
            raise UnreadableModel(path=path)
        self._memory = lib.llama_get_memory(self._context)
        self._batch = lib.llama_batch_ext_init(self._context)
        self.running: RunningStep | None = None
        self._snapshot: Snapshot | None = None
        self._free = [CacheSlot(index) for index in range(slots)]
        self._used: OrderedDict[Hashable, CacheSlot] = OrderedDict()

    def advance(
        self,
        owner: Hashable,
        tokens: Sequence[int],
        abort: AbortFlag,
        step_tokens: int = BATCH_TOKENS,
        is_prompt: bool = False,
    ) -> AdvanceResult | None:
        """Process the next tokens, at most `step_tokens`, that are not in the cache of `owner`.

        `is_prompt`: keep the scores of the last token until there is another prompt. Returns None
        if aborted; the work of earlier calls is kept. If there are more owners than slots, the
        cache of the least recently used owner is evicted. Raises EngineFailed.
        """
        if not tokens or len(tokens) > self.context_tokens:
            raise EngineFailed(engine=NAME)
        if abort:
            return None
        slot = self._slot(owner)
        self._restore(slot, tokens)
        if slot.ends_prompt(tokens):
            self._cut(slot, len(tokens))
            slot.logits = slot.prompt_logits
        if slot.logits is not None and slot.tokens == tokens:
            return AdvanceResult(0, 0, slot.logits)
        # The last token is evaluated even if cached, because this yields the next scores.
        shared = min(common_prefix(slot.tokens, tokens), len(tokens) - 1)
        self._cut(slot, shared)
        part = list(tokens[shared : shared + min(step_tokens, BATCH_TOKENS)])
        missing = len(tokens) - shared - len(part)
        self.running = RunningStep(owner, tuple(tokens[: shared + len(part)]))
        try:
            if not self._process(slot, part, wants_logits=missing == 0, abort=abort):
                return None
        finally:
            self.running = None
        if is_prompt and slot.logits is not None:
            slot.prompt_tokens, slot.prompt_logits = len(tokens), slot.logits
        return AdvanceResult(len(part), missing, slot.logits)

    def cached(self, owner: Hashable, tokens: Sequence[int]) -> int:
        """Return the number of tokens that `advance` would not have to evaluate."""
        slot = self._used.get(owner) or CacheSlot(-1)
        if (slot.logits is not None and slot.tokens == tokens) or slot.ends_prompt(tokens):
            return len(tokens)
        shared = common_prefix(slot.tokens, tokens)
        if (snapshot := self._better_snapshot(shared, tokens)) is not None:
            shared = len(snapshot.tokens)
        return min(shared, len(tokens) - 1)

    def keep_snapshot(self, owner: Hashable) -> None:
        """Copy the cached prompt of `owner`; later prompts that begin with it start from the copy.

        Every session begins with the same system prompt, which takes seconds to process.
        """
        slot, lib = self._slot(owner), self._library
        size = lib.llama_state_seq_get_size(self._context, slot.index)
        data = ctypes.create_string_buffer(size)
        written = lib.llama_state_seq_get_data(self._context, data, size, slot.index)
        self._snapshot = Snapshot(tuple(slot.tokens), data.raw[:written])

    def release(self, owner: Hashable) -> None:
        """Free the slot of `owner`, if it has one."""
        slot = self._used.pop(owner, None)
        if slot is not None:
            self._cut(slot, 0)
            self._free.append(slot)

    @property
    def owners(self) -> int:
        """The number of cached conversations."""
        return len(self._used)

    def close(self) -> None:
        """Free the model. Do not use the object afterwards."""
        if self._batch:
            self._library.llama_batch_ext_free(self._batch)
        if self._context:
            self._library.llama_free(self._context)
        if self._model:
            self._library.llama_model_free(self._model)
        self._batch = self._context = self._model = None

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of plain text, never a control token, even if the text contains one."""
        return self._tokenize(text, special=False)

    def control(self, name: str) -> int | None:
        """Return the control token `name`, such as `<|im_end|>`; None if the model has none."""
        tokens = self._tokenize(name, special=True)
        return tokens[0] if len(tokens) == 1 and self.is_control(tokens[0]) else None

    def is_control(self, token: int) -> bool:
        """Return whether the token has no text: a control token or an end of generation."""
        lib, vocabulary = self._library, self._vocabulary
        return bool(
            lib.llama_vocab_is_control(vocabulary, token)
            or lib.llama_vocab_is_eog(vocabulary, token)
        )

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token, maybe of a partial character; empty for control tokens."""
        buffer = ctypes.create_string_buffer(64)
        size = self._library.llama_token_to_piece(self._vocabulary, token, buffer, 64, 0, False)
        if size < 0:
            buffer = ctypes.create_string_buffer(-size)
            size = self._library.llama_token_to_piece(
                self._vocabulary, token, buffer, -size, 0, False
            )
        return buffer.raw[:size]

    def _tokenize(self, text: str, special: bool) -> list[int]:
        raw = text.encode("utf-8", "replace")
        buffer = (ctypes.c_int32 * (len(raw) + 8))()  # a text has at most one token per byte
        count = self._library.llama_tokenize(
            self._vocabulary, raw, len(raw), buffer, len(buffer), False, special
        )
        return list(buffer[:count])

    def _slot(self, owner: Hashable) -> CacheSlot:
        slot = self._used.pop(owner, None)
        if slot is None:
            if not self._free:
                self.release(next(iter(self._used)))
            slot = self._free.pop()
        self._used[owner] = slot  # the most recently used owner is last
        return slot

    def _better_snapshot(self, shared: int, tokens: Sequence[int]) -> Snapshot | None:
        """Return the snapshot if it begins `tokens` and has more than `shared` of them."""
        snapshot = self._snapshot
        if snapshot is None or len(snapshot.tokens) <= shared:
            return None
        return snapshot if tuple(tokens[: len(snapshot.tokens)]) == snapshot.tokens else None

    def _restore(self, slot: CacheSlot, tokens: Sequence[int]) -> None:
        """Replace the cache of the slot by the snapshot, if that saves work."""
        snapshot = self._better_snapshot(common_prefix(slot.tokens, tokens), tokens)
        if snapshot is None:
            return
        self._cut(slot, 0)
        data = snapshot.data
        if self._library.llama_state_seq_set_data(self._context, data, len(data), slot.index):
            slot.tokens = list(snapshot.tokens)

    def _cut(self, slot: CacheSlot, keep: int) -> None:
        if keep < len(slot.tokens):
            self._library.llama_memory_seq_rm(self._memory, slot.index, keep, -1)
            del slot.tokens[keep:]
            slot.logits = None
            if keep < slot.prompt_tokens:
                slot.prompt_tokens, slot.prompt_logits = 0, None

    def _process(
        self, slot: CacheSlot, part: list[int], wants_logits: bool, abort: AbortFlag
    ) -> bool:
        """Run one batch; return False if aborted. Raises EngineFailed."""
        lib = self._library
        lib.llama_batch_ext_clear(self._batch)
        start = len(slot.tokens)
        for position, token in enumerate(part, start):
            row = lib.llama_batch_ext_add_token(self._batch, slot.index, token)
            lib.llama_batch_ext_set_pos(self._batch, row, ctypes.c_int32(position))
        if wants_logits:
            lib.llama_batch_ext_set_output_logits(self._batch, row, True)
        lib.llama_set_abort_callback(self._context, STRLEN, abort.address)
        outcome = lib.llama_process(self._context, c.DECODE, self._batch)
        slot.logits = None
        if outcome != 0:
            lib.llama_memory_seq_rm(self._memory, slot.index, start, -1)
            if outcome != c.ABORTED:
                raise EngineFailed(engine=NAME)
            return False
        slot.tokens.extend(part)
        if wants_logits:
            scores = lib.llama_get_logits_ith(self._context, -1)
            slot.logits = np.ctypeslib.as_array(scores, (self.vocabulary_tokens,)).copy()
        return True


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Return the length of the common prefix of two token sequences."""
    for index, pair in enumerate(zip(left, right, strict=False)):
        if pair[0] != pair[1]:
            return index
    return min(len(left), len(right))
