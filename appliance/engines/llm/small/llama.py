"""A GGUF language model with a cached prompt per conversation, stepped by its caller.

Nothing runs on its own: each call of `advance` does at most one batch of the prompt or one token,
so a consumer who waits holds the model, and a batch under way can be aborted from another thread.
All methods but `tokenize`, `piece` and the token questions belong into one thread.
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from appliance.engines.llm.small import llama_library as c
from appliance.errors import EngineFailed, MissingWeights, UnreadableModel

Logits = npt.NDArray[np.float32]

BATCH_TOKENS = 64  # of a prompt at once: nearly the full speed of 512, and others wait 8 times less
TOP_K = 40
# The library asks `bool callback(void *)` between the operations of a batch. A Python function
# would need the interpreter's lock a thousand times a token; strlen is a C function that answers
# 1 for the string "\1" and 0 for "", so that a single byte stops a batch.
STRLEN = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p)


class Abort:
    """Stops the batch under way, and all later ones, of the calls it is given to."""

    def __init__(self) -> None:
        self._byte = ctypes.create_string_buffer(2)

    def __bool__(self) -> bool:
        return self._byte.raw[0] != 0

    def set(self) -> None:
        """May be called from any thread."""
        self._byte[0] = b"\x01"

    @property
    def address(self) -> int:
        """Where the library looks; valid as long as this object lives."""
        return ctypes.addressof(self._byte)


@dataclass(slots=True)
class Slot:
    """One sequence of the cache: the tokens it holds and what the model says comes after them."""

    index: int
    tokens: list[int] = field(default_factory=list)
    logits: Logits | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What one `advance` did.

    evaluated  tokens that went through the model
    missing    tokens still to do; call again until it is 0
    logits     scores of the next token, once nothing is missing
    """

    evaluated: int
    missing: int
    logits: Logits | None


class LanguageModel:
    """The model, with `slots` cached conversations of at most `context_tokens` each."""

    def __init__(self, path: Path, threads: int, context_tokens: int, slots: int) -> None:
        """Loads the model. Raises MissingWeights, UnreadableModel or UnknownLlama."""
        if not path.is_file():
            raise MissingWeights(path=path)
        self._library = lib = c.load()
        self._context = self._model = self._batch = None
        settings = c.model_params(lib)
        settings.n_gpu_layers = 0
        self._model = lib.llama_model_load_from_file(str(path).encode(), settings)
        if not self._model:
            raise UnreadableModel(path=path)
        self._vocabulary = lib.llama_model_get_vocab(self._model)
        self.vocabulary_tokens = int(lib.llama_vocab_n_tokens(self._vocabulary))
        self.context_tokens = min(context_tokens, int(lib.llama_model_n_ctx_train(self._model)))
        shape = c.context_params(lib)
        shape.n_ctx = self.context_tokens * slots
        shape.n_seq_max = slots
        shape.n_batch = shape.n_ubatch = BATCH_TOKENS
        shape.n_threads = shape.n_threads_batch = threads
        self._context = lib.llama_init_from_model(self._model, shape)
        if not self._context:
            raise UnreadableModel(path=path)
        self._memory = lib.llama_get_memory(self._context)
        self._batch = lib.llama_batch_ext_init(self._context)
        self._free = [Slot(index) for index in range(slots)]
        self._taken: OrderedDict[Hashable, Slot] = OrderedDict()

    def advance(self, owner: Hashable, tokens: Sequence[int], abort: Abort) -> Step | None:
        """Brings the cache of `owner` one batch closer to `tokens`, reusing what they share.

        None when aborted; what earlier batches did is kept. The owner who was quiet for longest
        loses its cache when there are more owners than slots. Raises EngineFailed.
        """
        if not tokens or len(tokens) > self.context_tokens:
            raise EngineFailed(engine="llm")
        if abort:
            return None
        slot = self._slot(owner)
        if slot.logits is not None and slot.tokens == tokens:
            return Step(0, 0, slot.logits)
        # The last token is evaluated (again) in any case: only that yields the scores after it.
        shared = min(common(slot.tokens, tokens), len(tokens) - 1)
        self._cut(slot, shared)
        part = list(tokens[shared : shared + BATCH_TOKENS])
        missing = len(tokens) - shared - len(part)
        if not self._process(slot, part, wants_logits=missing == 0, abort=abort):
            return None
        return Step(len(part), missing, slot.logits)

    def cached(self, owner: Hashable, tokens: Sequence[int]) -> int:
        """How many of the tokens `advance` would not have to evaluate."""
        slot = self._taken.get(owner)
        if slot is None:
            return 0
        exact = slot.logits is not None and slot.tokens == tokens
        return len(tokens) if exact else min(common(slot.tokens, tokens), len(tokens) - 1)

    def release(self, owner: Hashable) -> None:
        """Frees the slot of `owner`, if it has one."""
        slot = self._taken.pop(owner, None)
        if slot is not None:
            self._cut(slot, 0)
            self._free.append(slot)

    @property
    def owners(self) -> int:
        """How many conversations are cached."""
        return len(self._taken)

    def close(self) -> None:
        """Frees the model; no other call may follow."""
        if self._batch:
            self._library.llama_batch_ext_free(self._batch)
        if self._context:
            self._library.llama_free(self._context)
        if self._model:
            self._library.llama_model_free(self._model)
        self._batch = self._context = self._model = None

    def tokenize(self, text: str) -> list[int]:
        """The tokens of plain text; none of them is a control token, whatever the text says."""
        return self._tokenize(text, special=False)

    def control(self, name: str) -> int | None:
        """The control token written so, such as `<|im_end|>`; None when the model has none."""
        tokens = self._tokenize(name, special=True)
        return tokens[0] if len(tokens) == 1 and self.is_control(tokens[0]) else None

    def is_control(self, token: int) -> bool:
        """Whether the token is an instruction to a program and no text."""
        lib, vocabulary = self._library, self._vocabulary
        return bool(
            lib.llama_vocab_is_control(vocabulary, token)
            or lib.llama_vocab_is_eog(vocabulary, token)
        )

    def piece(self, token: int) -> bytes:
        """The bytes of a token, which need not be whole characters; empty for control tokens."""
        room = ctypes.create_string_buffer(64)
        size = self._library.llama_token_to_piece(self._vocabulary, token, room, 64, 0, False)
        if size < 0:
            room = ctypes.create_string_buffer(-size)
            size = self._library.llama_token_to_piece(
                self._vocabulary, token, room, -size, 0, False
            )
        return room.raw[:size]

    def _tokenize(self, text: str, special: bool) -> list[int]:
        raw = text.encode("utf-8", "replace")
        room = (ctypes.c_int32 * (len(raw) + 8))()  # never more tokens than bytes
        count = self._library.llama_tokenize(
            self._vocabulary, raw, len(raw), room, len(room), False, special
        )
        return list(room[:count])

    def _slot(self, owner: Hashable) -> Slot:
        slot = self._taken.pop(owner, None)
        if slot is None:
            if not self._free:
                self.release(next(iter(self._taken)))
            slot = self._free.pop()
        self._taken[owner] = slot  # the most recent owner stands last
        return slot

    def _cut(self, slot: Slot, keep: int) -> None:
        if keep < len(slot.tokens):
            self._library.llama_memory_seq_rm(self._memory, slot.index, keep, -1)
            del slot.tokens[keep:]
            slot.logits = None

    def _process(self, slot: Slot, part: list[int], wants_logits: bool, abort: Abort) -> bool:
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
                raise EngineFailed(engine="llm")
            return False
        slot.tokens.extend(part)
        if wants_logits:
            scores = lib.llama_get_logits_ith(self._context, -1)
            slot.logits = np.ctypeslib.as_array(scores, (self.vocabulary_tokens,)).copy()
        return True


def common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two rows have in common at their beginning."""
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return min(len(left), len(right))


def choose(logits: Logits, temperature: float, random: np.random.Generator) -> int:
    """The next token: the likeliest at temperature 0, else drawn from the TOP_K likeliest."""
    if temperature <= 0:
        return int(logits.argmax())
    best = np.argpartition(logits, -TOP_K)[-TOP_K:]
    weights = np.exp((logits[best] - logits[best].max()) / temperature)
    return int(random.choice(best, p=weights / weights.sum()))
