"""Recognizes that a caller corrects a fact of their own: "No, my dog is called Bello." No I/O.

Small models answer with small talk. The reply begins with "All right, your", and the model goes on
with the fact: "All right, your dog is called Bello."
"""

from __future__ import annotations

import re
from typing import Final

CONFIRMED: Final = "All right, your"

_CORRECTS = re.compile(
    r"\W*(?:no|wrong|sorry|actually|wait|oh)\b[\W_]*(?:(?:no|sorry|actually|wait)\b[\W_]*)*"
    r"(?:my|our) (?:\w+ ){1,3}(?:is|are|was|were|has|have|lives?|works?)\b[^?]*",
    re.IGNORECASE,
)


def corrects_own_fact(text: str) -> bool:
    """Return whether a text corrects something of the caller's, and asks for nothing."""
    return bool(_CORRECTS.fullmatch(text.strip()))
