"""Llama 3.1's vocabulary, in which no text can become a special token.

A tokenizer finds its added tokens by their spelling, so a caller who is transcribed as saying
"<|eot_id|>" would end their own turn, and "<|audio|>", whose id lies past the embedding table,
kills vLLM. Here the added tokens are taken out of the tokenizer that texts go through: what is
left cannot make them, whatever the text. Our own code puts them in by name.
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
NEEDED = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    AUDIO,
)


class SealedVocabulary:
    """Texts to tokens, and special tokens by name."""

    def __init__(self, texts: Tokenizer, special: Mapping[str, int]) -> None:
        self._texts = texts
        self._special = dict(special)
        self.size = min(special.values())
        """Every id that a text can be made of is below."""

    @classmethod
    def read(cls, folder: Path) -> SealedVocabulary:
        """Reads `tokenizer.json` of a model folder.

        Raises BadCheckpoint when it cannot be read, lacks one of NEEDED, or gives a special token
        an id that text can have.
        """
        path = folder / FILE
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
            special = {str(added["content"]): int(added["id"]) for added in spec["added_tokens"]}
            texts = Tokenizer.from_str(json.dumps({**spec, **_WITHOUT}))
        except Exception as problem:  # tokenizers raises nothing narrower
            raise BadCheckpoint(path=path, why=f"it cannot be read: {problem}") from problem
        if missing := [name for name in NEEDED if name not in special]:
            raise BadCheckpoint(path=path, why=f"it has no {', '.join(missing)}")
        ordinary = texts.get_vocab(with_added_tokens=False)
        if ordinary and max(ordinary.values()) >= min(special.values()):
            raise BadCheckpoint(path=path, why="it mixes special tokens with those of text")
        return cls(texts, special)

    @property
    def audio(self) -> int:
        """The placeholder of a clip; vLLM puts the clip's embeddings in its place."""
        return self._special[AUDIO]

    def special(self, name: str) -> int:
        """The id of an added token. Raises KeyError when there is none of this name."""
        return self._special[name]

    def tokenize(self, text: str) -> list[int]:
        """Tokens of plain text, all below `size`. Half a surrogate pair becomes "?"."""
        whole = text.encode("utf-8", "replace").decode("utf-8")
        tokens: list[int] = self._texts.encode(whole, add_special_tokens=False).ids
        return tokens

    def text(self, tokens: list[int]) -> str:
        """The text of tokens that `tokenize` made."""
        text: str = self._texts.decode(tokens, skip_special_tokens=False)
        return text


# What adds tokens that no text contains, cuts texts off, or fills them up.
_WITHOUT: Final[Mapping[str, object]] = {
    "added_tokens": [],
    "post_processor": None,
    "truncation": None,
    "padding": None,
}
