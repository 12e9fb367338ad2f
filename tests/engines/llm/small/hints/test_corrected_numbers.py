"""A caller may correct a digit of a number, in words or figures."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.corrected_numbers import (
    asked_digits,
    asks_for_number,
    corrected_number,
    find_number,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("My number is five five five, zero one four two.", "five five five, zero one four two"),
        ("It is 555-0142. Read it back.", "555-0142"),
        ("The code is 4815", "4815"),
        ("First 12, then nine oh three.", "nine oh three"),
        ("I have two cats.", ""),
        ("Someone phoned tonight.", ""),
        ("", ""),
    ],
)
def test_last_number_of_a_text_is_found(text: str, number: str) -> None:
    assert find_number(text) == number


@pytest.mark.parametrize(
    ("correction", "number", "corrected"),
    [
        ("No, it ends in three.", "zero one four two", "zero one four three"),
        ("No, it ends with a 3.", "0142", "0143"),
        ("The last digit is nine now.", "four one seven", "four one nine"),
        ("Sorry, the last digit’s 8", "nine zero three", "nine zero eight"),
        ("The last one should be oh.", "555-0142", "555-0140"),
        ("It ends in 4.", "one two", "one four"),
    ],
)
def test_last_digit_is_corrected(correction: str, number: str, corrected: str) -> None:
    assert corrected_number(correction, number) == corrected


@pytest.mark.parametrize(
    ("correction", "corrected"),
    [
        ("No, the first digit is nine.", "nine zero two, eight eight one"),
        ("It begins with a 4.", "four zero two, eight eight one"),
        ("The third one should be oh.", "seven zero zero, eight eight one"),
        ("The second to last digit is two.", "seven zero two, eight two one"),
        ("Not one, five.", "seven zero two, eight eight five"),
        ("No, it is not two but six.", "seven zero six, eight eight one"),
        ("Five, not seven.", "five zero two, eight eight one"),
        ("The two should be a three.", "seven zero three, eight eight one"),
        ("Not eight, four.", ""),  # which eight?
        ("Not four, eight.", ""),
        ("It was not one but two o'clock.", ""),
        ("The twelfth digit is three.", ""),
    ],
)
def test_any_digit_is_corrected(correction: str, corrected: str) -> None:
    assert corrected_number(correction, "seven zero two, eight eight one") == corrected


@pytest.mark.parametrize(
    "text",
    ["It ends in May.", "It ends in three five.", "It ends in thirty.", "No, three.", "Read it."],
)
def test_other_texts_correct_nothing(text: str) -> None:
    assert corrected_number(text, "one two") == ""


def test_without_a_number_there_is_nothing_to_correct() -> None:
    assert corrected_number("It ends in three.", "") == ""


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("What is my phone number?", True),
        ("So what’s the number?", True),
        ("What is my room number?", False),
        ("What is the number of the clinic?", False),
        ("What is my name?", False),
    ],
)
def test_question_for_the_number_that_was_told(text: str, asks: bool) -> None:
    assert asks_for_number(text, "My phone number is five five five, zero one.") is asks
    assert not asks_for_number(text, "")


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Tell me my badge once more.", True),
        ("What is my badge?", True),
        ("What is my name?", False),
        ("What is my locker?", False),
    ],
)
def test_what_was_told_as_a_number_is_one(text: str, asks: bool) -> None:
    assert asks_for_number(text, "My name is Ada and my badge is four one seven.") is asks


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("And what are its last two digits?", "eight one"),
        ("What is the first digit?", "seven"),
        ("Repeat the first three numbers, please.", "seven zero two"),
        ("What are the first two digits of pi?", ""),
        ("The last two digits are wrong.", ""),
        ("What are the last digits?", ""),  # how many?
    ],
)
def test_first_or_last_digits_are_known(text: str, digits: str) -> None:
    assert asked_digits(text, "seven zero two, eight eight one") == digits
    assert asked_digits(text, "") == ""
