"""The caller's name is found in what the caller has said."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.told_names import told_name


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("My name is Miriam and I live in Oslo.", "Miriam", ""),
        ("Hello, my name is Anna Berg.", "Anna", "Berg"),
        ("Hi, I am Tobias, and my dog is called Bruno.", "Tobias", ""),
        ("Call me Peter.", "Peter", ""),
        ("I am German by birth.", "", ""),
        ("I am tired.", "", ""),
        ("My dog is called Bruno.", "", ""),
    ],
)
def test_name(text: str, first: str, last: str) -> None:
    told = [text, "What a day."]
    assert (told_name(told), told_name(told, is_last_name=True)) == (first, last)


def test_later_name_counts() -> None:
    assert told_name(["My name is Ann.", "Sorry, my name is Anna."]) == "Anna"
