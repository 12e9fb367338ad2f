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
            if not number or not replaces_number(turn.text):
                told_number = turn.text
            number = found
            corrected = found if asks_to_read_back(turn.text) else ""
        elif asks_for_number(turn.text, told_number):
            corrected = number
        result = sum_result(turn.text, result)
        if corrected:
            hint = Hint(f"The number is {corrected}.", f"The number is {corrected}.")
        elif digits := asked_digits(turn.text, number):
            hint = Hint(f"These are {digits}.", f"{digits.capitalize()}.")
        else:
            hint = quotation(turn.text, told)
        if not hint and (known := result or _worked_out(turn.text)):
            hint = Hint(f"The result is {known}.")
            result = known  # which "And half of that?" continues
        if not hint and asks_for_story_sum(turn.text):
            hint = Hint(STEP_BY_STEP, "First,")
        if not hint and told and corrects_own_fact(turn.text):
            hint = Hint(beginning=CONFIRMED)
        if not hint:
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
    if not may_know and asks_for_name(text):
        return Hint(NO_NAME)
    if may_act:
        return Hint()
    if limit := limit_of(text):
        return Hint(limit, refusal_of(text, limit))
    if not may_know and asks_for_local_fact(text, told):
        return Hint(NO_FACTS, "I am sorry, I do not know")
    return Hint()
