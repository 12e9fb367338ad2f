"""Joining the transcripts of a question that was spoken in parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm.small.parts import join_parts


@pytest.mark.parametrize(
    ("parts", "question"),
    [
        (["Can you tell me.", "What the time is?"], "Can you tell me, what the time is?"),
        (["My name is Peter.", "What is yours?"], "My name is Peter, what is yours?"),
        (["I live in.", "London."], "I live in, London."),
        (["My number is 5 5 5.", "1 2 3", "4."], "My number is 5 5 5, 1 2 3, 4."),
        (["Well, I think...", "I'm late."], "Well, I think, I'm late."),
        (["To leave,", "Please enter a number."], "To leave, please enter a number."),
        (["", "Hello."], "Hello."),
        (["Hello!", ""], "Hello!"),
        (["...", "Hello."], "Hello."),
        ([], ""),
    ],
)  # fmt: skip
def test_parts_are_joined_with_a_comma(parts: list[str], question: str) -> None:
    assert join_parts(parts) == question


@given(st.lists(st.text(alphabet="abI .,?!\u2026'", max_size=12), max_size=5))
def test_no_word_is_lost_or_added(parts: list[str]) -> None:
    def words(text: str) -> list[str]:
        return [word for word in text.lower().replace(",", " ").split() if word.strip(".?!\u2026")]

    joined = join_parts(parts)
    letters = [c for c in joined.lower() if c.isalnum()]
    assert letters == [c for part in parts for c in part.lower() if c.isalnum()]
    assert len(words(joined)) <= sum(len(words(part)) for part in parts)
