"""Echo by words: whether the caller's words repeat what the bot said. No I/O.

echo.py compares waveforms. A client may distort or stretch the sound, or delay it by more than
echo.py looks for. The gateway also knows the words that it has sent: words that repeat a part of
them, in their order, are an echo.

A caller may repeat words of the bot, too ("In Paris?"). So a few words count only on a line on
which an echo was heard before. On any other line, only a repetition of many words counts. One or
two words after a question are its answer on any line ("Tea or coffee?" "Coffee.").
"""

from __future__ import annotations

import re

ANY_LINE_WORDS = 5  # of the bot's, repeated on a line without a known echo
CHOICE_WORDS = 2  # of a question, repeated as its answer
WRONG_PART = 0.3  # of the words may be heard wrong: the recognizer makes these errors in a room
RECENT_WORDS = 60  # of the bot's last ones; 20 s of speech
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # both apostrophes


def is_own(text: str, said: str, has_echo: bool) -> bool:
    """Return whether the words of `text` repeat a part of what the bot has said.

    said      the bot's text so far, with the phrase that it speaks
    has_echo  whether an echo was heard on this line
    """
    heard, own = _words(text), _words(said)[-RECENT_WORDS:]
    if len(heard) <= CHOICE_WORDS and said.rstrip().endswith("?"):
        return False
    if len(heard) < (1 if has_echo else ANY_LINE_WORDS):
        return False
    return fewest_errors(heard, own) <= int(WRONG_PART * len(heard))


def fewest_errors(heard: list[str], own: list[str]) -> int:
    """Return how many words of `heard` differ from the part of `own` that it resembles most.

    The edit distance between `heard` and any part of `own`: Sellers, "The theory and computation
    of evolutionary distances", 1980.
    """
    errors = [0] * (len(own) + 1)  # a part may begin anywhere
    for count, word in enumerate(heard, 1):
        before, errors[0] = errors[0], count
        for place, other in enumerate(own, 1):
            wrong = before + (word != other)
            before = errors[place]
            errors[place] = min(wrong, errors[place] + 1, errors[place - 1] + 1)
    return min(errors)


def _words(text: str) -> list[str]:
    return [word.replace("’", "'") for word in _WORD.findall(text.casefold())]
