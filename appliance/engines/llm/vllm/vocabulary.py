"""Llama 3.1's vocabulary. Text never becomes a special token.

A tokenizer recognizes its added tokens by their spelling. The text "<|eot_id|>" in a turn would end
the turn. The text "<|audio|>" would crash vLLM, because its id is outside the embedding table.
Therefore, the added tokens are removed from the tokenizer for text, which can then never produce
them. Prompts insert special tokens by name.
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
    """Tokenizes text, and looks up special tokens by name."""

    def __init__(self, texts: Tokenizer, special: Mapping[str, int]) -> None:
        self._texts = texts
        self._special = dict(special)
        self.size = min(special.values())
        """Ids of text tokens are below this value."""

    @classmethod
    def load(cls, folder: Path) -> SealedVocabulary:
        """Load `tokenizer.json` of a model folder.

        Raises BadCheckpoint if the file cannot be read, if a token of REQUIRED is missing, or if
        the ids of special tokens and text tokens overlap.
        """
        path = folder / FILE
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
            special = {str(added["content"]): int(added["id"]) for added in spec["added_tokens"]}
            texts = Tokenizer.from_str(json.dumps({**spec, **_WITHOUT_ADDED}))
        except Exception as problem:  # tokenizers raises only plain Exception
            raise BadCheckpoint(path=path, why=f"it cannot be read: {problem}") from problem
        if missing := [name for name in REQUIRED if name not in special]:
            raise BadCheckpoint(path=path, why=f"it has no {', '.join(missing)}")
        ordinary = texts.get_vocab(with_added_tokens=False)
        if ordinary and max(ordinary.values()) >= min(special.values()):
            raise BadCheckpoint(path=path, why="it mixes special tokens with those of text")
        return cls(texts, special)

    @property
    def audio(self) -> int:
        """The id of the placeholder that vLLM replaces with the embeddings of a clip."""
        return self._special[AUDIO]

    def special(self, name: str) -> int:
        """Return the id of a special token. Raises KeyError for an unknown name."""
        return self._special[name]

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of plain text, all below `size`. Unpaired surrogates become "?"."""
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
