"""From decoded tokens to the text of a reply: whole characters, plain speech, no endless loop."""

from __future__ import annotations

import codecs

LOOP_WORDS = 8  # the same words this many in a row a second time: the model is going in circles
_ROLE_MARKS = tuple(
    role + mark for role in ("assistant", "system", "user", "ai", "bot") for mark in (":", "\n")
)


class Reply:
    """Takes the bytes of one token after the other and hands out text that can be spoken."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._beginning: str | None = ""  # held back while it may be a role's name
        self.text = ""

    def add(self, piece: bytes) -> str:
        """More bytes; the text that is certain now, which may be empty."""
        return self.add_text(self._decoder.decode(piece))

    def add_text(self, text: str) -> str:
        """The same for what has been decoded already."""
        if self._beginning is not None:
            self._beginning += text
            decided = without_role(self._beginning)
            if decided is None:
                return ""
            text, self._beginning = decided, None
        self.text += text
        return text

    def finish(self) -> str:
        """No more bytes; the text that was held back."""
        rest, self._beginning = (self._beginning or "").strip(), None
        if rest.casefold() + "\n" in _ROLE_MARKS or rest.casefold() in _ROLE_MARKS:
            rest = ""
        self.text += rest
        return rest

    @property
    def loops(self) -> bool:
        """Whether the last words have been said in the same order before."""
        words = self.text.casefold().split()
        last = words[-LOOP_WORDS:]
        if len(last) < LOOP_WORDS:
            return False
        earlier = words[:-1]
        return any(
            earlier[at : at + LOOP_WORDS] == last for at in range(len(earlier) - LOOP_WORDS + 1)
        )


def without_role(beginning: str) -> str | None:
    """The beginning of a reply without a leading "Assistant:"; None while it may become one."""
    text = beginning.lstrip()
    for mark in _ROLE_MARKS:
        if text.casefold().startswith(mark):
            return text[len(mark) :].lstrip() or None
        if mark.startswith(text.casefold()):
            return None
    return text
