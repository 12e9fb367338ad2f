"""What is said to the appliance."""

from __future__ import annotations

import pytest

from appliance.acceptance import script
from appliance.acceptance.script import missing


@pytest.mark.parametrize("turns", [0, 4, 5, 12])
def test_a_short_conversation_still_has_the_known_questions_and_the_memory(turns: int) -> None:
    asked = script.conversation(turns)
    assert len(asked) == max(turns, 4)
    assert asked[:4] == [*script.KNOWN, *script.MEMORY]
    assert asked.index(script.TOLD) < asked.index(script.ASKED_BACK)


def test_every_question_holds_the_words_that_have_to_be_understood() -> None:
    for question in (*script.KNOWN, *script.MEMORY, script.LONG):
        assert missing(question.understood, question.text) == []


def test_no_answer_can_be_read_off_its_own_question() -> None:
    for question in (*script.KNOWN, script.ASKED_BACK):
        assert missing(question.answered, question.text) == list(question.answered)
