"""Decides whether a reply speaks as if it were the caller. No I/O.

Asked "What do I teach?" by a caller who has said "I teach chemistry", small models may copy: "I
teach chemistry." Such a reply is decoded again without the pronoun, as a copy of the prompt is:

    Where did I live? -> I lived in Oslo.        swapped: the pronoun is "I"
    Where did I live? -> I do not know that.     the assistant speaks of itself
    What is my cat called? -> My cat is Fig.     swapped: the pronoun is "My"

English, as `llm.language`.
"""

from __future__ import annotations

import re
from typing import Final

# More words are not needed to decide.
DECIDING_WORDS: Final = 4

_ASKS_FOR_OWN_FACT = re.compile(
    r"^\W*(?:(?:and|so|but|okay|ok|now|please|then|well)\b\W*)*"
    r"(?:(?:can you |could you )?(?:tell me|do you (?:know|remember)|remind me)\W+)?"
    r"(?:(?:in|on|at|for|from|with|to) )?(?:what|where|who|whom|when|which|how (?:old|many|much"
    r"|long))\b"
    r".*\b(?:(?:do|did|am|was|have|had|are|were) (?:i|we)|(?:i|we) (?:\w+)|my|our)\b",
    re.IGNORECASE,
)
_SPEAKS_OF_ITSELF = re.compile(
    r"(?:i|we) (?:do|don't|did|didn't|can|cannot|can't|could|couldn't|know|think|believe|guess|will"
    r"|would|won't|apologi[sz]e|understand|see|hear|suppose|suggest|recommend|hope|need|only"
    r"|just|have (?:no|not)|haven't|am (?:sorry|unable|not|afraid|here|glad|happy|just|only"
    r"|an? (?:computer|voice|program|machine|assistant|ai|virtual|large|language|friendly))|'m)\b"
    r"|i'm\b|i'll\b|i'd\b|(?:my|our) (?:apologies|mistake|guess|pleasure)\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"(?:yes|no|well|sure|okay)?\W*\b(?P<pronoun>I|my|we|our)\b", re.IGNORECASE)


def asks_for_own_fact(question: str) -> bool:
    """Return whether a caller asks for something that the caller has told."""
    return bool(_ASKS_FOR_OWN_FACT.search(question.replace("’", "'")))


def swapped_pronoun(reply: str) -> str:
    """Return the pronoun with which a reply to such a question takes the caller's place, or ''.

    `reply` has DECIDING_WORDS, or is complete.
    """
    reply = reply.replace("’", "'")
    match = _PRONOUN.match(reply)
    if match is None or _SPEAKS_OF_ITSELF.match(reply, match.start("pronoun")):
        return ""
    return match["pronoun"]
