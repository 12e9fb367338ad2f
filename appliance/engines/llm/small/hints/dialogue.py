"""Finds the hint for each question of a dialogue. No I/O.

A note follows the question, so that the beginning of the prompt stays the same, and so does the
model's cache of it:

    What is nine plus eight? (The result is 17.)

A note does not always help: a small model may still answer a request for letters with the word. So
some replies begin with a known text, which the model goes on from, or are known as a whole:

    Call my mother. -> I am sorry, I cannot| make calls.
    Spell the word cat. -> C-A-T.

The other modules of this folder recognize the questions. They are English, as `llm.language`.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.engines.llm.small.hints.clock_sums import clock_result
from appliance.engines.llm.small.hints.corrected_facts import CONFIRMED, corrects_own_fact
from appliance.engines.llm.small.hints.corrected_numbers import (
    asked_digits,
    asks_for_number,
    asks_to_read_back,
    corrected_number,
    find_number,
    replaces_number,
)
from appliance.engines.llm.small.hints.hint import Hint
from appliance.engines.llm.small.hints.impossible_requests import (
    NO_ACTION,
    NO_WEATHER,
    asks_about_refused,
    limit_of,
    refusal_of,
)
from appliance.engines.llm.small.hints.letters import letters_result
from appliance.engines.llm.small.hints.local_facts import NO_FACTS, asks_for_local_fact
from appliance.engines.llm.small.hints.own_nature import NO_NAME, answer_about_itself, asks_for_name
from appliance.engines.llm.small.hints.quotations import quotation
from appliance.engines.llm.small.hints.spoken_sums import sum_result
from appliance.engines.llm.small.hints.step_by_step import STEP_BY_STEP, asks_for_story_sum
from appliance.engines.llm.small.hints.story_sums import story_result
from appliance.engines.llm.small.hints.unit_conversions import converted
from appliance.link.engine import ChatMessage


def add_notes(
    dialogue: Sequence[ChatMessage], may_act: bool = False, may_know: bool = False
) -> list[ChatMessage]:
    """Add to each question of the caller the note of its hint.

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

    The arguments are those of `add_notes`.
    """
    caller = _Caller(may_act, may_know)
    return [caller.hint(turn.text) if turn.role == "user" else Hint() for turn in dialogue]


class _Caller:
    """What a caller has said so far, which the hint for the next question depends on."""

    def __init__(self, may_act: bool, may_know: bool) -> None:
        self._may_act = may_act
        self._may_know = may_know
        self._told: list[str] = []  # the caller's texts
        self._number = ""  # as it was told and corrected
        self._number_text = ""  # the text that told it
        self._result = ""  # of the sum in the last text, which "And half of that?" continues
        self._was_refused = False

    def hint(self, text: str) -> Hint:
        """Return the hint for the caller's next text: the first that applies."""
        self._result = sum_result(text, self._result)
        hint = self._about_number(text) or quotation(text, self._told)
        if not hint and (known := self._result or _worked_out(text)):
            hint = Hint(f"The result is {known}.")
            self._result = known
        if not hint and asks_for_story_sum(text):
            hint = Hint(STEP_BY_STEP, "First,")
        if not hint and self._told and corrects_own_fact(text):
            hint = Hint(beginning=CONFIRMED)
        hint = hint or self._limit(text)
        self._told.append(text)
        self._was_refused = hint.note == NO_ACTION
        return hint

    def _about_number(self, text: str) -> Hint:
        """Return the caller's number if a text corrects it or asks for it, or the asked digits."""
        known = corrected_number(text, self._number)
        if known:
            self._number = known
        elif found := find_number(text):
            if not self._number or not replaces_number(text):
                self._number_text = text
            self._number = found
            known = found if asks_to_read_back(text) else ""
        elif asks_for_number(text, self._number_text):
            known = self._number
        if known:
            return Hint(f"The number is {known}.", f"The number is {known}.")
        if digits := asked_digits(text, self._number):
            return Hint(f"These are {digits}.", f"{digits.capitalize()}.")
        return Hint()

    def _limit(self, text: str) -> Hint:
        """Return what the assistant is not, cannot do and does not know."""
        if answer := answer_about_itself(text):
            return Hint(beginning=answer)
        if not self._may_know and asks_for_name(text):
            return Hint(NO_NAME)
        if self._may_act:
            return Hint()
        limit = limit_of(text)
        if self._was_refused and limit != NO_WEATHER and asks_about_refused(text):
            return Hint(NO_ACTION, "No, I cannot")
        if limit:
            return Hint(limit, refusal_of(text, limit))
        if not self._may_know and asks_for_local_fact(text, self._told):
            return Hint(NO_FACTS, "I am sorry, I do not know")
        return Hint()


def _worked_out(text: str) -> str:
    """Return the result of what is not a sum alone."""
    return letters_result(text) or converted(text) or story_result(text) or clock_result(text)
