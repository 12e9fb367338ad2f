"""Questions for the caller's own last words ("What did I just say?"). No I/O.

Small models answer them with the last answer, or with an older sentence of the call. The words are
known, so the prompt quotes them after the question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from appliance.link.engine import Turn

# English, as `llm.language`. At the end of the text: "What did I say about my cats?" is another
# question, which the model answers from the conversation.
_ASKS_FOR_LAST_WORDS = re.compile(
    r"\bwhat (?:did i(?: just)? (?:say|ask)|have i just (?:said|asked)|i(?: just)? (?:said|asked)"
    r"|was my (?:last|previous) (?:question|sentence)|were my (?:last|previous) words)"
    r"(?: you)?(?: just now| a moment ago| before(?: that)?)?\W*$"
)


def quote_last_words(dialogue: Sequence[Turn]) -> list[Turn]:
    """Add the caller's previous text to each question for it.

    The quotation follows the question, so that the beginning of the prompt stays the same.
    """
    quoted: list[Turn] = []
    before = ""
    for turn in dialogue:
        if turn.role == "user":
            text, before = before, turn.text
            if text and _ASKS_FOR_LAST_WORDS.search(turn.text.casefold()):
                turn = Turn("user", f'{turn.text} (Before this, I said: "{text}")')
        quoted.append(turn)
    return quoted
