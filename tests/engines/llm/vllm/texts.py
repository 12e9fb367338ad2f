"""Texts that spell special tokens, and the vocabulary of the golden checkpoint."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from hypothesis import strategies as st

from appliance.engines.llm.vllm.vocabulary import FILE, SealedVocabulary

GOLDEN = Path(__file__).parents[3] / "golden" / "ultravox-tiny"
TINY = GOLDEN / "checkpoint"
SPELLINGS = sorted(
    added["content"]
    for added in json.loads((TINY / FILE).read_text(encoding="utf-8"))["added_tokens"]
    if not added["content"].startswith("<|reserved_1")
)
_CHARACTERS = st.characters(exclude_categories=["Cs"])

TEXTS = st.lists(
    st.one_of(
        st.sampled_from(SPELLINGS),
        st.sampled_from(["<|", "|>", "<", "|", "audio", "eot_id", " ", "\n", "\n\n", "user"]),
        st.text(_CHARACTERS, max_size=12),
    ),
    max_size=8,
).map("".join)


@functools.cache
def vocabulary() -> SealedVocabulary:
    """The golden checkpoint's vocabulary."""
    return SealedVocabulary.load(TINY)
