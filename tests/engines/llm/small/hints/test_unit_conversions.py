"""Conversions of units are exact, and other questions are none."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.unit_conversions import converted


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("How many minutes are in seven hours?", "420 minutes"),
        ("How many centimetres are six inches?", "15.24 centimetres"),
        ("How many days are there in three weeks?", "21 days"),
        ("How many hours are in half a day?", "12 hours"),
        ("How many minutes are in two and a half hours?", "150 minutes"),
        ("How many eggs are in two dozen?", "24 eggs"),
        ("How many cents are in a dollar?", "100 cents"),
        ("Convert ten kilometers to miles.", "about 6.21 miles"),
        ("What is 98.6 degrees Fahrenheit in Celsius?", "37 degrees Celsius"),
        ("What is minus ten degrees Celsius in Fahrenheit?", "14 degrees Fahrenheit"),
    ],
)
def test_conversion_is_exact(text: str, result: str) -> None:
    assert converted(text) == result


@pytest.mark.parametrize(
    "text",
    [
        "How many days are in February?",
        "How many pounds are in ten dollars?",
        "What is ten dollars in euros?",
        "What is twenty degrees Celsius in Celsius?",
        "How many grams are in a litre?",
        "How many minutes are we late?",
        "I ran six miles in two hours.",
        "",
    ],
)
def test_other_questions_are_none(text: str) -> None:
    assert converted(text) == ""
