"""The spoken length of written words, against the audio that Kokoro makes of them."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.speech.spoken_length import spoken_lengths

# Phrases, and the seconds of their audio: Kokoro, voice af_heart, speed 1, on 2026-11-28.
MEASURED = [
    ("The capital of France is Paris, and it is a large city on the river.", 3.715),
    ("Please wait here until the nurse calls your name.", 2.625),
    ("Your serial number is 4F7K-9Q2M-X8T3.", 4.705),
    ("4F7K-9Q2M-X8T3-77AB-C0D1", 5.32),
    ("The number is 555-123-4567.", 4.025),
    ("It costs $1,450.75 in total.", 4.705),
    ("Take 500 mg of ibuprofen every 8 hours.", 3.695),
    ("The meeting is on 3/14/2026 at 3:30 PM.", 4.195),
    ("Write to anna.miller@example.com for help.", 3.31),
    ("About 45% of 1,200 people came.", 3.73),
    ("The COPD and MRSA tests are in the ICU.", 2.915),
    ("Call 911 or 555 0199.", 4.14),
    ("A B C D E F", 1.17),
    ("The blood pressure is 120/80 mmHg.", 3.72),
    ("The temperature is 38.5 °C now.", 3.265),
    ("Flight BA2490 leaves from gate B12.", 4.0),
    ("Yes, of course.", 1.165),
    ("The IBAN is DE89 3704 0044 0532 0130 00.", 7.955),
    ("Section 4.2.1 of ISO 13485 applies.", 5.71),
]
RATE = statistics.median(sum(spoken_lengths(text)) / seconds for text, seconds in MEASURED)


@pytest.mark.parametrize(("text", "seconds"), MEASURED)
def test_estimate_is_within_a_third_of_the_audio(text: str, seconds: float) -> None:
    assert sum(spoken_lengths(text)) / RATE == pytest.approx(seconds, rel=1 / 3)


def test_unit_is_as_long_as_its_name() -> None:
    assert spoken_lengths("10 mg")[1] > spoken_lengths("the mg")[1]
    assert spoken_lengths("at 9 I left")[2] == spoken_lengths("I")[0]


@given(st.text())
def test_every_word_has_a_length(phrase: str) -> None:
    lengths = spoken_lengths(phrase)
    assert len(lengths) == len(phrase.split())
    assert all(length >= 0 for length in lengths)
