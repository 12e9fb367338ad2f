"""The tables agree with each other."""

from __future__ import annotations

from appliance.engines.tts.text import lexicon


def test_closing_abbreviations_are_abbreviations() -> None:
    assert set(lexicon.ABBREVIATIONS) >= lexicon.CLOSING_ABBREVIATIONS


def test_tables_of_words_to_be_looked_up_in_lower_case_are_in_lower_case() -> None:
    assert all(key == key.lower() for key in (*lexicon.ABBREVIATIONS, *lexicon.SCALES))


def test_months_are_found_by_their_short_names() -> None:
    assert [lexicon.month("Sept"), lexicon.month("May")] == ["September", "May"]
    assert lexicon.ROMAN["XIV"] == 14
