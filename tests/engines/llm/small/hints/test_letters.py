"""Letters of words are counted, and other questions are left to the model."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.letters import letters_result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("How many letters are in the word house?", "5"),
        ("How many letters does Oslo have?", "4"),
        ("How many times is the letter r in strawberry?", "3"),
        ("How many s are there in the word grass?", "2"),
        ("What is the last letter of Oslo?", "O"),
        ("Which letter does the word tree start with?", "T"),
        ("Which letter comes after M?", "N"),
        ("And what letter is before B?", "A"),
        ("Hello, can you tell me how many letters are in tree?", "4"),
    ],
)
def test_question_about_letters(text: str, result: str) -> None:
    assert letters_result(text) == result


@pytest.mark.parametrize(
    "text",
    [
        "How many letters did I get?",
        "How many letters are in the alphabet?",
        "How many letters are in it?",
        "Which letter comes after Z?",
        "What is the first letter about?",
        "How many apples are in the basket?",
        "",
    ],
)
def test_other_questions(text: str) -> None:
    assert letters_result(text) == ""
