"""The result of a sum is known when the reply has said the sum."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.step_by_step import STEP_BY_STEP
from appliance.engines.llm.small.stated_sums import StatedResults, result_of_stated_sum


@pytest.mark.parametrize(
    ("said", "result"),
    [
        ("Fifty minus eighteen equals", "32"),
        ("You ate two. Thirty minus twelve is", "18"),
        ("Three cups times seven days is", "21"),
        ("$50 - $18 =", "32"),
        ("Ten percent of 450 is", "45"),
        ("Twenty-four biscuits divided by six children, which is", "4"),
        ("Five times three minus two makes", "13"),
        ("Two plus two is 4, and 4 plus one is", "5"),
        ("Four minus nine is", "minus 5"),
    ],
)
def test_sum_has_a_result(said: str, result: str) -> None:
    assert result_of_stated_sum(said) == result


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Fifty minus eighteen",
        "Fifty minus eighteen equals twenty",
        "Four tickets is",
        "It is",
        "Your number is five five five minus two is",  # digits of a number
        "Half past five minus two is",  # a time
        "2026-11-29 is",
        "The third minus the second is",
        "Ten divided by zero is",
    ],
)
def test_other_text_has_none(said: str) -> None:
    assert result_of_stated_sum(said) == ""


@pytest.mark.parametrize(
    ("said", "added"),
    [
        ("The sum is sixty minus twenty-eight.", " That is 32."),
        ("The sum is sixty minus twenty-eight, which is 32.", ""),
        ("Thirty-two dollars are left.", ""),
    ],
)
def test_complete_reply_without_the_result(said: str, added: str) -> None:
    assert StatedResults(STEP_BY_STEP).at_end(said) == added
    assert StatedResults("").at_end(said) == ""  # no story: it may be a title


def test_result_of_the_note_is_left_to_the_model() -> None:
    said = "Sixty minus twenty-eight is"
    assert StatedResults("").after(said) == " 32"
    assert StatedResults(STEP_BY_STEP).after(said) == " 32"
    assert StatedResults("The result is 30.").after(said) == ""
