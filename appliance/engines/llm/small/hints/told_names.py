"""Finds the name that the caller has told, so that it can be spelled. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_NAME: Final = r"(?P<name>(?-i:[A-Z])[^\W\d_]+(?: (?-i:[A-Z])[^\W\d_]+)*)"
# "I am Peter", but not "I am German": only the first words of a sentence, before its end or "and".
_TELLS: Final = (
    re.compile(rf"\bmy (?:full )?name(?:'s| is) {_NAME}", re.IGNORECASE),
    re.compile(rf"\b(?:call me|i(?:'m| am) called|this is) {_NAME}", re.IGNORECASE),
    re.compile(
        rf"(?:^|[.!,] )(?:hi,? |hello,? )?i(?:'m| am) {_NAME}(?=[.,!]|$| and\b)", re.IGNORECASE
    ),
)


def told_name(told: Sequence[str], is_last_name: bool = False) -> str:
    """Return the caller's name by the caller's texts, the latest first; '' if it was not told.

    `is_last_name`: return the last of several names, '' if there is only one; else the first.
    """
    for text in reversed(told):
        for pattern in _TELLS:
            if match := pattern.search(text.replace("’", "'")):
                names = match["name"].split()
                if not is_last_name:
                    return names[0]
                return names[-1] if len(names) > 1 else ""
    return ""
