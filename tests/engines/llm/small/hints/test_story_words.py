"""A story is reduced to the kinds of its words, its amounts and what it asks for."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.story_words import plain_story, summary_of


@pytest.mark.parametrize(
    ("story", "question", "summary"),
    [
        ("i had # dollars and spent #", "how much is left?", "HAS ## PAY ? LEFT"),
        ("# people sit here and # leave", "how many remain?", "HAS ## LOSE ? LEFT"),
        ("it costs # and falls by # percent", "what is it now?", "COST #% FALL ? NOW"),
        ("i have # and a pen costs #", "is # left if i buy #?", "HAS ## COST ? BUYING ##"),
        ("the grass is green", "why?", "?"),
    ],
)
def test_summary(story: str, question: str, summary: str) -> None:
    assert summary_of(story, question) == summary


def test_times_and_numbers_of_rooms_are_no_story() -> None:
    assert plain_story("I am in room four, and it is ten past two. How late am I?") == ""
    assert plain_story("I’m twenty-one; and you?") == "i'm twenty one. and you?"
