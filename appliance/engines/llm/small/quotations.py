"""Quotations that follow a question in the prompt, because small models get them wrong. No I/O.

Asked for the caller's last words ("What did I just say?"), they give the last answer or an older
sentence of the call. Asked to spell a word, they repeat it. Both are known, so the prompt has them:

    What did I just say? (Before this, I said: "I live in Oslo.")
    Spell the word cat. (Spelled: C-A-T.)

So are the corrected number of `corrected_numbers.py`, the results of `spoken_sums.py`, and the
limits of `impossible_requests.py` and `local_facts.py`.

A note does not always help: a small model may still answer a request for letters with the word. So
some replies begin with a known text, which the model goes on from, or are known as a whole:

    Spell the word cat. -> C-A-T.
    Call my mother. -> I am sorry, I cannot| make calls.

The quotation follows the question, so that the beginning of the prompt stays the same, and so does
the model's cache of it. The questions are English, as `llm.language`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.engines.llm.small.clock_sums import clock_result
from appliance.engines.llm.small.corrected_facts import CONFIRMED, corrects_own_fact
from appliance.engines.llm.small.corrected_numbers import (
    asks_for_number,
    asks_to_read_back,
    corrected_number,
    find_number,
)
from appliance.engines.llm.small.impossible_requests import (
    NO_ACTION,
    asks_about_refused,
    limit_of,
    refusal_of,
)
from appliance.engines.llm.small.letters import letters_result
from appliance.engines.llm.small.local_facts import NO_FACTS, asks_for_local_fact
from appliance.engines.llm.small.own_nature import answer_about_itself
from appliance.engines.llm.small.spoken_sums import sum_result
from appliance.engines.llm.small.story_sums import STEP_BY_STEP, asks_for_story_sum, story_result
from appliance.engines.llm.small.told_names import told_name
from appliance.engines.llm.small.unit_conversions import converted
from appliance.link.engine import ChatMessage

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
# A small model answers with the caller's name.
_ASKS_FOR_BOTS_NAME = re.compile(
    r"\b(?:(?:what(?: is|'s|’s)|tell me|may i (?:know|ask)) your name|do you have a name"
    r"|what (?:do|should|can|may) i call you)(?:,? please)?\W*$",
    re.IGNORECASE,
)
NO_NAME = "You are a voice assistant and have no name."
MOST_QUOTED_WORDS: Final = 40  # of a whole reply: more is tiring to hear
# "Spell it": what it is, the model has to find.
_NOT_WORDS = frozenset({"it", "that", "this", "them", "again", "me", "please", "word", "name"})


@dataclass(frozen=True, slots=True)
class Hint:
    """What helps a small model with one question.

    note        follows the question in the prompt, in brackets
    beginning   of the reply, which the model continues; the whole reply if it ends a sentence
    """

    note: str = ""
    beginning: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether the beginning is the whole reply."""
        return self.beginning.endswith((".", "?", '"'))


def add_quotations(
    dialogue: Sequence[ChatMessage], may_act: bool = False, may_know: bool = False
) -> list[ChatMessage]:
    """Add to each question of the caller what small models need to answer it.

    `may_act`: there are tools that may fulfil requests, so that the limits are not added.
    `may_know`: the system prompt may have the bot's name and facts of the place, so that it is not
    said that there are none.
    """
    hints = find_hints(dialogue, may_act, may_know)
    return [
        ChatMessage(turn.role, f"{turn.text} ({hint.note})") if hint.note else turn
        for turn, hint in zip(dialogue, hints, strict=True)
    ]


def find_hints(
    dialogue: Sequence[ChatMessage], may_act: bool = False, may_know: bool = False
) -> list[Hint]:
    """Return the hint for each turn, an empty one for turns of others than the caller.

    The arguments are those of `add_quotations`.
    """
    hints: list[Hint] = []
    hints_of_caller: list[Hint] = []
    told: list[str] = []  # the caller's texts
    number = told_number = result = ""  # `told_number` is the text that told it
    for turn in dialogue:
        if turn.role != "user":
            hints.append(Hint())
            continue
        corrected = corrected_number(turn.text, number)
        if corrected:
            number = corrected
        elif found := find_number(turn.text):
            number, told_number = found, turn.text
            corrected = found if asks_to_read_back(turn.text) else ""
        elif asks_for_number(turn.text, told_number):
            corrected = number
        result = sum_result(turn.text, result)
        if corrected:
            hint = Hint(f"The number is {corrected}.", f"The number is {corrected}.")
        else:
            hint = _quotation(turn.text, told)
        if hint == Hint() and (known := result or _worked_out(turn.text)):
            hint = Hint(f"The result is {known}.")
            result = known  # which "And half of that?" continues
        if hint == Hint() and asks_for_story_sum(turn.text):
            hint = Hint(STEP_BY_STEP, "First,")
        if hint == Hint() and told and corrects_own_fact(turn.text):
            hint = Hint(beginning=CONFIRMED)
        if hint == Hint():
            hint = _limit(turn.text, told, may_act, may_know)
            was_refused = bool(hints_of_caller) and hints_of_caller[-1].note == NO_ACTION
            if was_refused and not hint.is_whole and asks_about_refused(turn.text):
                hint = Hint(NO_ACTION, "No, I cannot")
        hints_of_caller.append(hint)
        told.append(turn.text)
        hints.append(hint)
    return hints


def _worked_out(text: str) -> str:
    """Return the result of what is not a sum alone."""
    return letters_result(text) or converted(text) or story_result(text) or clock_result(text)


def _limit(text: str, told: Sequence[str], may_act: bool, may_know: bool) -> Hint:
    """Return what the assistant is not, cannot do and does not know."""
    if answer := answer_about_itself(text):
        return Hint(beginning=answer)
    if not may_know and _ASKS_FOR_BOTS_NAME.search(text):
        return Hint(NO_NAME)
    if may_act:
        return Hint()
    if limit := limit_of(text):
        return Hint(limit, refusal_of(text, limit))
    if not may_know and asks_for_local_fact(text, told):
        return Hint(NO_FACTS, "I am sorry, I do not know")
    return Hint()


def _quotation(text: str, told: Sequence[str]) -> Hint:
    """Return what to quote after `text`; `told` are the caller's texts before it."""
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
