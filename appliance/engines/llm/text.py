"""Convert tokens to the text of a reply, without role names, and detect loops. No I/O."""

from __future__ import annotations

import codecs

LOOP_WORDS = 8  # words; a repeated sequence of this length means that the model is in a loop
_ROLE_PREFIXES = tuple(
    role + mark for role in ("assistant", "system", "user", "ai", "bot") for mark in (":", "\n")
)


class ReplyText:
    """Collects a streamed reply and returns the text that can already be spoken."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._beginning: str | None = ""  # held back while it may be a role name
        self.text = ""

    def add_bytes(self, data: bytes) -> str:
        """Add the UTF-8 bytes of a token, maybe a partial character. Returns the same as `add`."""
        return self.add(self._decoder.decode(data))

    def add(self, text: str) -> str:
        """Add decoded text. Returns the text that can now be spoken, which may be empty."""
        if self._beginning is not None:
            self._beginning += text
            stripped = strip_role(self._beginning)
            if stripped is None:
                return ""
            text, self._beginning = stripped, None
        self.text += text
        return text

    def finish(self) -> str:
        """End the reply. Returns the text that was held back."""
        rest, self._beginning = (self._beginning or "").strip(), None
        if rest.casefold() + "\n" in _ROLE_PREFIXES or rest.casefold() in _ROLE_PREFIXES:
            rest = ""
        self.text += rest
        return rest

    @property
    def is_looping(self) -> bool:
        """Whether the last LOOP_WORDS words occurred earlier in the same order."""
        words = self.text.casefold().split()
        last = words[-LOOP_WORDS:]
        if len(last) < LOOP_WORDS:
            return False
        earlier = words[:-1]
        return any(
            earlier[start : start + LOOP_WORDS] == last
            for start in range(len(earlier) - LOOP_WORDS + 1)
        )


def strip_role(beginning: str) -> str | None:
    """Remove a role name such as "Assistant:" from the beginning of a reply.

    Returns None if the text so far may be part of a role name.
    """
    text = beginning.lstrip()
    for prefix in _ROLE_PREFIXES:
        if text.casefold().startswith(prefix):
            return text[len(prefix) :].lstrip() or None
        if prefix.startswith(text.casefold()):
            return None
    return text
