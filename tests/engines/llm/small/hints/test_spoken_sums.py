"""Sums that a caller asks for are worked out; what only has numbers in it is not a sum."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.spoken_sums import sum_result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("What is thirty minus twelve?", "18"),
        ("How much is seven minus fifteen?", "minus 8"),
        ("Fifty two minus nineteen?", "33"),
        ("Seven plus five equals.", "12"),
        ("What’s 12 − 15?", "minus 3"),
        ("What is minus three plus five?", "2"),
        ("Subtract forty from one hundred and twelve.", "72"),
        ("What do you get if you take nine from twenty-three?", "14"),
        ("How much is thirteen times twelve?", "156"),
        ("What is ninety-six divided by eight?", "12"),
        ("What is ten divided by three?", "about 3.33"),
        ("What is three point five minus four?", "minus 0.5"),
        ("What is twenty percent of three hundred and fifty?", "70"),
        ("What is a third of ninety?", "30"),
        ("Two thirds of ninety, please.", "60"),
        ("Double sixteen.", "32"),
        ("What is twelve squared?", "144"),
        ("What is the difference between five and eight?", "3"),
        ("Two plus three times four?", "14"),
        ("Two thousand minus eight hundred forty-four?", "1,156"),
        ("Can you calculate eighteen times nineteen?", "342"),
    ],
)
def test_sum_is_worked_out(text: str, result: str) -> None:
    assert sum_result(text) == result


@pytest.mark.parametrize(
    "text",
    [
        "Is two less than five?",
        "I take two tablets three times a day.",
        "Take 2 - 3 tablets.",
        "Call 555-0142.",
        "My number is five five five, zero one four two.",
        "What is nine eleven?",
        "What is minus five?",
        "The meeting is at five to six.",
        "It is 12/4.",
        "Divide ten by zero.",
        "Minus ten.",
        "Double that.",
        "",
    ],
)
def test_other_texts_are_no_sums(text: str) -> None:
    assert sum_result(text) == ""


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("And minus ten more?", "25"),
        ("Double that, please.", "70"),
        ("And half of that?", "17.5"),
        ("Divide it by five.", "7"),
        ("Subtract forty from that.", "minus 5"),
        ("What is ten percent of that?", "3.5"),
        ("And what is five plus five?", "10"),
        ("No, minus forty.", ""),
        ("Say that again.", ""),
    ],
)
def test_question_continues_the_sum_before(text: str, result: str) -> None:
    assert sum_result(text, "35") == result


def test_result_that_was_rounded_is_not_continued() -> None:
    assert sum_result("Times three.", "about 3.33") == ""
