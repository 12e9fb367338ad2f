"""The forms of a number that was spoken alone, and the choice between them."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.ordinals import PREFERENCE, choose_form, number_forms


@pytest.mark.parametrize(
    ("text", "other", "ordinal"),
    [
        ("Six.", "6", "Sixth."),
        ("6th", "Six.", "6th."),
        ("80s.", "Eighties.", "Eightieth"),
        ("Millions!", "Million", "Millionth."),
        ("One hundred.", "100.", "Hundredth"),
    ],
)
def test_number_is_compared_with_its_other_form_and_its_ordinal(
    text: str, other: str, ordinal: str
) -> None:
    forms = number_forms(text)
    assert forms is not None
    assert other in forms[0]
    assert ordinal in forms[1]


@pytest.mark.parametrize("text", ["", "Stop.", "Six, six.", "21", "For.", "7D", "Six o'clock."])
def test_text_that_is_not_one_number_is_not_compared(text: str) -> None:
    assert number_forms(text) is None


@pytest.mark.parametrize(
    ("text", "ordinal", "expected"),
    [
        ("Eleven.", -PREFERENCE + 0.1, "Eleventh."),
        ("Eleven.", -PREFERENCE - 0.1, "Eleven."),
        ("11th", -PREFERENCE + 0.1, "11th"),
        ("11th", -PREFERENCE - 0.1, "Eleven."),
        ("Thousands.", 0.0, "Thousandth."),
        ("Thousands.", -9.0, "Thousands."),
    ],
)
def test_ordinal_is_chosen_although_it_is_less_probable(
    text: str, ordinal: float, expected: str
) -> None:
    assert choose_form(text, [0.0], [ordinal]) == expected
