"""Times of the day and the hours between them are worked out, and other questions are not."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.clock_sums import clock_result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (
            "A train leaves at two and arrives at half past five. How long is the journey?",
            "3 hours and 30 minutes",
        ),
        ("I went to bed at ten and got up at six. How many hours did I sleep?", "8 hours"),
        ("I work from nine to five. How many hours is that?", "8 hours"),
        ("The film starts at 7:15 and ends at 9:00. How long is it?", "1 hour and 45 minutes"),
        ("It is three o'clock now. What time will it be in four hours?", "7 o'clock"),
        ("It is ten. What time will it be in four hours?", "2 o'clock"),
        ("The film starts at seven and lasts two hours. When does it end?", "9 o'clock"),
        ("We leave at quarter to eight and it takes half an hour. When do we arrive?", "8:15"),
        ("It is five o'clock. What time was it two hours ago?", "3 o'clock"),
        ("The lesson is at noon and takes an hour and a half. When is it over?", "1:30"),
    ],
)
def test_clock_question_has_a_result(text: str, result: str) -> None:
    assert clock_result(text) == result


@pytest.mark.parametrize(
    "text",
    [
        "What time is it?",
        "When does the shop open?",
        "How long is a marathon?",
        "I am at home at five. How long is the river?",
        "How long does it take to boil two eggs?",
        "I have two appointments at nine. When should I leave?",
        "I sleep from ten to six every day. How many hours is that in two weeks?",
        "I take a pill at eight and two at nine. How many hours is that?",
        "",
    ],
)
def test_other_questions_have_none(text: str) -> None:
    assert clock_result(text) == ""
