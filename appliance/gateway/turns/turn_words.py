"""Cues in the words of a turn: dictation, a short answer, the end of a sentence. No I/O.

The word lists are English, as a recognizer writes the words. endpointing.py decides from them.
"""

from __future__ import annotations

import re

_DICTATED = re.compile(
    r"\d+|zero|oh|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|(?:thir|four|fif|six|seven|eigh|nine)teen|twenty|thirty|forty|fifty|sixty|seventy|eighty"
    r"|ninety|hundred|double|triple|dash|dot|[b-hj-z]",
    re.IGNORECASE,
)
_LETTER_OR_WORD = ("a", "i")
# The second part is what a recognizer writes for a letter or digit that is spoken alone: words that
# sound like it, or nearly so ("age": H). "Why" is a question more often than a Y.
_CHARACTER = re.compile(
    r"[a-z\d]|zero|oh|one|two|three|four|five|six|seven|eight|nine"
    r"|bee?|see|sea|dee|gee|age|aitch|eye|jay|kay|ell?|em|en|owe|pea|pee|queue|cue|are?|ess|tea|tee"
    r"|you|vee|ex|zee|zed|won|too?|for|ate"
)
_ANSWER = re.compile(
    r"(?:yes|yeah|yep|no|nope|okay|ok|stop|thanks|thank you|hello|hi|goodbye|bye|right|sure"
    r"|please|never ?mind|why|what|when|where|who|how|pardon|really)"
    r"(?:,? (?:please|thanks|thank you))?",
    re.IGNORECASE,
)
_LISTED = re.compile(
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?|january|february|march|april|may|june|july"
    r"|august|september|october|november|december|first|second|third|next|today|tomorrow",
    re.IGNORECASE,
)


def dictated_words(words: str) -> int:
    """Return how many digits, numbers or single letters the words end in.

    "A" and "I" are words, too. They are letters after another letter or a digit ("M, I, A"), and
    where nothing else was said: nobody says "A." and means the word.
    """
    found = re.findall(r"[a-z']+|\d", words.lower())
    count = 0
    for number, word in enumerate(reversed(found), start=1):
        if _DICTATED.fullmatch(word) is not None:
            count = number
        elif word not in _LETTER_OR_WORD:
            break
    else:
        return len(found)
    return count


def is_answer(words: str) -> bool:
    """Return whether the words are one of the short answers that need nothing more."""
    return _ANSWER.fullmatch(words.strip(" .,!?")) is not None


def ends_sentence(words: str) -> bool:
    """Return whether the recognizer heard the end of a sentence, and not only a comma."""
    return words.endswith((".", "!", "?"))


def is_list_item(words: str) -> bool:
    """Return whether the words are the name of a day or month, which a date or list may follow."""
    return _LISTED.fullmatch(words.strip(" .,!?")) is not None


def is_one_character(words: str) -> bool:
    """Return whether the words are one digit or letter, or a word that sounds like one."""
    word = words.strip(" .,!?").lower()
    return _CHARACTER.fullmatch(word) is not None


def count_words(words: str) -> int:
    """Return the number of words."""
    return len(words.split())
