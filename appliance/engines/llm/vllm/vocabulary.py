"""Llama 3.1's vocabulary, in which no text can become a special token.

A tokenizer recognizes its added tokens by their spelling. A user who is transcribed as saying
"<|eot_id|>" would end their own turn, and "<|audio|>", whose id lies past the embedding table,
would kill vLLM. So the added tokens are removed from the tokenizer of texts, which can then never
produce them. Prompts insert special tokens by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from appliance.errors import BadCheckpoint

FILE = "tokenizer.json"
AUDIO = "<|audio|>"
REQUIRED = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    AUDIO,
)


class SealedVocabulary:
    """Tokenizes texts, and knows special tokens by name."""

    def __init__(self, texts: Tokenizer, special: Mapping[str, int]) -> None:
        self._texts = texts
        self._special = dict(special)
        self.size = min(special.values())
        """All ids of text tokens are below this."""

    @classmethod
    def load(cls, folder: Path) -> SealedVocabulary:
        """Load `tokenizer.json` of a model folder.

        Raises BadCheckpoint when it cannot be read, lacks one of REQUIRED, or has a special token
        among the ids of text tokens.
        """
        path = folder / FILE
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
            special = {str(added["content"]): int(added["id"]) for added in spec["added_tokens"]}
            texts = Tokenizer.from_str(json.dumps({**spec, **_WITHOUT_ADDED}))
        except Exception as problem:  # tokenizers raises nothing narrower
            raise BadCheckpoint(path=path, why=f"it cannot be read: {problem}") from problem
        if missing := [name for name in REQUIRED if name not in special]:
            raise BadCheckpoint(path=path, why=f"it has no {', '.join(missing)}")
        ordinary = texts.get_vocab(with_added_tokens=False)
        if ordinary and max(ordinary.values()) >= min(special.values()):
            raise BadCheckpoint(path=path, why="it mixes special tokens with those of text")
        return cls(texts, special)

    @property
    def audio(self) -> int:
        """The id of the placeholder that vLLM replaces by the embeddings of a clip."""
        return self._special[AUDIO]

    def special(self, name: str) -> int:
        """The id of a special token. Raises KeyError for an unknown name."""
        return self._special[name]

    def tokenize(self, text: str) -> list[int]:
        """The tokens of plain text, all below `size`. An unpaired surrogate becomes "?"."""
        encodable = text.encode("utf-8", "replace").decode("utf-8")
        tokens: list[int] = self._texts.encode(encodable, add_special_tokens=False).ids
        return tokens

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens returned by `tokenize`."""
        text: str = self._texts.decode(tokens, skip_special_tokens=False)
        return text


# Everything that recognizes or adds special tokens, truncates texts, or pads them.
_WITHOUT_ADDED: Final[Mapping[str, object]] = {
    "added_tokens": [],
    "post_processor": None,
    "truncation": None,
    "padding": None,
}
