"""A story with two amounts and a question for another one is found."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.story_sums import asks_for_story_sum


@pytest.mark.parametrize(
    "text",
    [
        "I had fifty dollars and spent eighteen. How much is left?",
        "A ticket costs 9 pounds. How much are 4 tickets?",
        "I drink three cups a day. How many is that in a week?",
        "Anna has twice as many books as Ben. Ben has sixteen. How many does Anna have?",
        "It was four degrees and it fell by nine. What is it now?",
        "Tom is twelve and his sister is three years younger. How old is his sister?",
    ],
)
def test_story_is_found(text: str) -> None:
    assert asks_for_story_sum(text)


@pytest.mark.parametrize(
    "text",
    [
        "How many legs does a spider have?",
        "How many legs do two spiders have?",
        "I am thirty. How old are you?",
        "My number is five five five, zero one four two. What is my number?",
        "I have two cats and one dog.",
        "It is three o'clock. What time will it be in four hours?",
        "I take two tablets three times a day.",
        "",
    ],
)
def test_other_text_is_not(text: str) -> None:
    assert not asks_for_story_sum(text)
