"""Names of months and days, and Roman numerals of any value."""

from __future__ import annotations

import pytest

from appliance.engines.tts.text.dates import month, weekday
from appliance.engines.tts.text.roman import value


def test_short_names_map_to_full_names() -> None:
    assert [month("Sept"), month("May")] == ["September", "May"]
    assert [weekday("Tues"), weekday("Thu")] == ["Tuesday", "Thursday"]


@pytest.mark.parametrize(
    ("numeral", "number"), {"XIV": 14, "xxiii": 23, "MCMXCIX": 1999, "XL": 40}.items()
)
def test_roman_numeral_maps_to_its_value(numeral: str, number: int) -> None:
    assert value(numeral) == number


@pytest.mark.parametrize("word", ["", "IIII", "IC", "VX", "word"])
def test_numeral_that_is_not_canonical_has_no_value(word: str) -> None:
    assert value(word) == 0
