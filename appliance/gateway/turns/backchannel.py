"""Backchannels: words of a listener, such as "uh huh", that do not ask for the turn. No I/O.

The word lists are English. They were chosen with words as Moonshine writes them.
"""

from __future__ import annotations

import re
from enum import Enum


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(line.split()) for line in text.split(",") if line.strip())


# What listeners say without wanting the turn. "What?" is a question, "no" and "stop" are answers
# and commands: they are not in the list.
LISTENER_PHRASES = _phrases(
    "uh, uhh, um, umm, uh huh, uhhuh, uhuh, mm, mmm, mhm, mmhm, mm hm, mm hmm, mmhmm, hm, hmm, "
    "ah, aha, ah ha, oh, ooh, wow, yeah, yep, yup, yes, ya, okay, ok, k, all right, alright, "
    "right, sure, sure thing, fine, good, great, nice, cool, perfect, excellent, wonderful, "
    "interesting, exactly, absolutely, definitely, indeed, true, correct, of course, i see, "
    "i know, i understand, i get it, got it, gotcha, understood, really, makes sense, "
    "that makes sense, sounds good, that's right, that is right, that's true, that's good, "
    "that's great, go on, go ahead, no problem, ha, haha, ha ha, thanks, thank you"
)
# Words that are an answer if the bot has just asked something.
ANSWER_WORDS = _words(
    "yes yeah yep yup ya okay ok right sure fine good great perfect absolutely definitely correct "
    "exactly true alright"
)
ANSWER_PHRASES = _phrases("of course, go ahead, go on, sounds good, no problem, that's right")
# Words that ask for the turn, however short the voice is: refusals and commands, questions, the
# beginnings of requests, and numbers. A recognizer seldom hears them in a hum.
ASKING_WORDS = _words(
    "no nope nah not don't doesn't didn't isn't aren't can't won't never wrong stop wait hold hang "
    "halt pause quiet silence hush shut enough cancel forget skip next back again repeat louder "
    "slower faster shorter longer help hello hey hi bye goodbye sorry pardon excuse listen please "
    "actually what what's who who's whose where where's when why how how's which can could would "
    "will shall should do does did is are was were have has may tell give show call play turn "
    "change explain spell read find say need want mean let question zero one two three four five "
    "six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million first "
    "second third last emergency urgent nurse doctor ambulance police fire operator agent human"
)
# A recognizer hears these in noise.
STRAY_WORDS = _words(
    "a an the and or but so of to in on at it its it's i you we he she they them then that this "
    "well like just oh"
)
# A hum is heard as words, too: Moonshine hears "mm-hmm" as "amend them". Such a sound is shorter.
# A question or a statement of this length without one of the ASKING_WORDS is rare.
HUM_SECONDS = 0.8
_LONGEST_PHRASE = max(map(len, LISTENER_PHRASES))
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # both apostrophes


class BotSpeech(Enum):
    """What the user has heard from the bot before the voice began."""

    NOTHING = "nothing"  # no part of the reply, so the voice may continue the user's question
    STATEMENT = "statement"
    QUESTION = "question"  # the voice may be the answer


def is_interruption(text: str, said: BotSpeech, spoken_seconds: float) -> bool:
    """Return whether words said while the bot speaks or prepares its reply ask for the turn.

    text            what the engine heard; empty if there were no words
    said            what the bot has said
    spoken_seconds  length of the voice so far
    """
    words = [word.replace("’", "'") for word in _WORD.findall(text.casefold())]
    asked = said is BotSpeech.QUESTION
    if asked and any(word in ANSWER_WORDS for word in words):
        return True
    others: list[str] = []  # neither a listener's sound nor noise
    strays = 0  # words that may be noise
    position = 0
    while position < len(words):
        length = _listener_phrase_length(words[position:])
        if asked and tuple(words[position : position + length]) in ANSWER_PHRASES:
            return True
        if not length and words[position] in STRAY_WORDS:
            strays += 1
        elif not length:
            others.append(words[position])
        position += length or 1
    if text.rstrip().endswith("?") and (others or strays > 1):  # "Huh?", "And you?"
        return True
    if any(word in ASKING_WORDS or word.isdecimal() for word in others):
        return True
    may_be_hum = said is BotSpeech.STATEMENT and spoken_seconds < HUM_SECONDS
    return bool(others) and not may_be_hum


def _listener_phrase_length(words: list[str]) -> int:
    """Return the number of words of the longest listener's phrase that `words` begin with."""
    for length in range(min(_LONGEST_PHRASE, len(words)), 0, -1):
        if tuple(words[:length]) in LISTENER_PHRASES:
            return length
    return 0
