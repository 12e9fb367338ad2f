"""The caller's last words and the letters of a word, because small models get them wrong. No I/O.

Asked for the caller's last words ("What did I just say?"), they give the last answer or an older
sentence of the call. Asked to spell a word, they repeat it. Both are known:

    What did I just say? (Before this, I said: "I live in Oslo.")
    Spell the word cat. (Spelled: C-A-T.)

English, as `llm.language`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from appliance.engines.llm.small.hints.hint import Hint
from appliance.engines.llm.small.hints.told_names import told_name

# At the end of the text: "What did I say about my cats?" is another question, which the model
# answers from the conversation.
_ASKS_FOR_LAST_WORDS = re.compile(
    r"\b(?:what (?:did i(?: just)? (?:say|ask)|have i(?: just)? (?:said|asked)"
    r"|i(?: just)? (?:said|asked)"
    r"|was the last (?:thing|sentence|question) (?:that )?i (?:said|asked)"
    r"|was my (?:last|previous) (?:question|sentence)|were my (?:last|previous) words)"
    r"|(?:repeat|tell me) my (?:last|previous) (?:words|question|sentence))"
    r"(?: to)?(?: you)?(?: just now| a moment ago| before(?: that)?)?(?:,? please)?\W*$"
)
_ASKS_TO_SPELL = re.compile(
    r"\b(?:spell(?: out)?|spelling of)(?: me)?"
    r"(?: (?:the|my|our|this) (?:last |first )?(?:word|name))?"
    r"[\s,:]+[\"'“‘]?(?P<word>[^\W\d_]{2,})[\"'”’]?(?: for me)?(?:,? please)?\W*$"
    r"|\bhow is [\"'“‘]?(?P<spelled>[^\W\d_]{2,})[\"'”’]? spelled\W*$",
    re.IGNORECASE,
)
_ASKS_TO_SPELL_NAME = re.compile(
    r"\b(?:spell(?: out)?|spelling of) my (?:first |full |(?P<last>last |family |sur))?name"
    r"(?: for me)?(?:,? please)?\W*$",
    re.IGNORECASE,
)
MOST_QUOTED_WORDS: Final = 40  # of a whole reply: more is tiring to hear
# "Spell it": what it is, the model has to find.
_NOT_WORDS = frozenset({"it", "that", "this", "them", "again", "me", "please", "word", "name"})


def quotation(text: str, told: Sequence[str]) -> Hint:
    """Return what `text` asks to quote; `told` are the caller's texts before it."""
    if told and _ASKS_FOR_LAST_WORDS.search(text.casefold()):
        before = told[-1]
        is_short = len(before.split()) <= MOST_QUOTED_WORDS
        return Hint(f'Before this, I said: "{before}"', f'You said "{before}"' if is_short else "")
    word = ""
    if match := _ASKS_TO_SPELL_NAME.search(text):
        word = told_name(told, is_last_name=bool(match["last"]))
    elif match := _ASKS_TO_SPELL.search(text):
        word = match["word"] or match["spelled"]
    if not word or word.casefold() in _NOT_WORDS:
        return Hint()
    letters = "-".join(word.upper())
    return Hint(f"Spelled: {letters}.", f"{letters}.")
