"""Turn decoded tokens into the text of a reply: whole characters, no role name, no loop. No I/O."""

from __future__ import annotations

import codecs

LOOP_WORDS = 8  # this many words repeated in the same order: the model is stuck in a loop
_ROLE_PREFIXES = tuple(
    role + mark for role in ("assistant", "system", "user", "ai", "bot") for mark in (":", "\n")
)


class ReplyText:
    """Collects a reply piece by piece and returns the text that can be spoken already."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._beginning: str | None = ""  # held back while it may be a role name
        self.text = ""

    def add_bytes(self, piece: bytes) -> str:
        """Add the UTF-8 bytes of a token, which may end inside a character. Returns like `add`."""
        return self.add(self._decoder.decode(piece))

    def add(self, text: str) -> str:
        """Add decoded text. Returns the text that is final now, which may be empty."""
        if self._beginning is not None:
            self._beginning += text
            decided = strip_role(self._beginning)
            if decided is None:
                return ""
            text, self._beginning = decided, None
        self.text += text
        return text

    def finish(self) -> str:
        """The reply is complete. Returns the text that was held back."""
        rest, self._beginning = (self._beginning or "").strip(), None
        if rest.casefold() + "\n" in _ROLE_PREFIXES or rest.casefold() in _ROLE_PREFIXES:
            rest = ""
        self.text += rest
        return rest

    @property
    def is_looping(self) -> bool:
        """Whether the last LOOP_WORDS words occurred before in the same order."""
        words = self.text.casefold().split()
        last = words[-LOOP_WORDS:]
        if len(last) < LOOP_WORDS:
            return False
        earlier = words[:-1]
        return any(
            earlier[at : at + LOOP_WORDS] == last for at in range(len(earlier) - LOOP_WORDS + 1)
        )


def strip_role(beginning: str) -> str | None:
    """Remove a leading "Assistant:" or similar from the beginning of a reply.

    None while the text may still turn out to be a role name.
    """
    text = beginning.lstrip()
    for prefix in _ROLE_PREFIXES:
        if text.casefold().startswith(prefix):
            return text[len(prefix) :].lstrip() or None
        if prefix.startswith(text.casefold()):
            return None
    return text
