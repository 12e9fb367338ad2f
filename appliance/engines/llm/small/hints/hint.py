"""What helps a small model with one question. No I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hint:
    """What helps a small model with one question.

    note        follows the question in the prompt, in brackets
    beginning   of the reply, which the model continues; the whole reply if it ends a sentence
    """

    note: str = ""
    beginning: str = ""

    def __bool__(self) -> bool:
        """Whether there is anything that helps."""
        return bool(self.note or self.beginning)

    @property
    def is_whole(self) -> bool:
        """Whether the beginning is the whole reply."""
        return self.beginning.endswith((".", "?", '"'))
