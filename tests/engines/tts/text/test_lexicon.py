"""Consistency of the word tables."""

from __future__ import annotations

from appliance.engines.tts.text import lexicon


def test_closing_abbreviations_are_abbreviations() -> None:
    assert set(lexicon.ABBREVIATIONS) >= lexicon.CLOSING_ABBREVIATIONS


def test_tables_searched_in_lower_case_have_lower_case_keys() -> None:
    assert all(key == key.lower() for key in (*lexicon.ABBREVIATIONS, *lexicon.SCALES))


def test_short_month_name_maps_to_full_name() -> None:
    assert [lexicon.month("Sept"), lexicon.month("May")] == ["September", "May"]


def test_roman_numeral_maps_to_its_value() -> None:
    assert lexicon.ROMAN["XIV"] == 14
