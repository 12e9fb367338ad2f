"""Questions about what the assistant is have a fixed answer, and others have none."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.own_nature import (
    CANNOT_SEE,
    FORGETS,
    HAS_NO_AGE,
    HAS_NO_PLACE,
    HEARS,
    IS_HERE,
    IS_PROGRAM,
    answer_about_itself,
)


@pytest.mark.parametrize(
    "text",
    [
        "Are you a real person?",
        "Are you human?",
        "So are you really a human being?",
        "Am I talking to a real person?",
        "Am I speaking with a live human?",
        "Are you a person or a machine?",
        "I am confused. Is this a real person?",
        "Honestly, are you a real person?",
        "Tell me honestly, are you a real person?",
        "Wait, tell me, please, are you human?",
        "Do you eat breakfast?",
        "Do you have any feelings?",
        "Are you married?",
    ],
)
def test_it_is_no_person(text: str) -> None:
    assert answer_about_itself(text) == f"No, {IS_PROGRAM}"


@pytest.mark.parametrize(
    "text", ["Are you a robot?", "Is this a recording?", "Am I talking to a machine?"]
)
def test_it_is_a_program(text: str) -> None:
    assert answer_about_itself(text) == f"Yes, {IS_PROGRAM}"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Can you see me?", f"No, {CANNOT_SEE}"),
        ("What am I wearing?", CANNOT_SEE),
        ("Will you remember me tomorrow?", FORGETS),
        ("Will you know my name next time?", FORGETS),
        ("How old are you?", HAS_NO_AGE),
        ("Where are you right now?", HAS_NO_PLACE),
    ],
)
def test_other_claims(text: str, answer: str) -> None:
    assert answer_about_itself(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "Are you sure?",
        "Are you a doctor or a nurse?",
        "Is this a real diamond?",
        "Can you see any problem with that?",
        "Do you remember my name?",
        "Do you have a table for two?",
        "Where are you going with this?",
        "How old is my mother?",
        "Who are you?",
        "Do you drink and drive is a film.",
        "",
    ],
)
def test_other_questions_are_for_the_model(text: str) -> None:
    assert answer_about_itself(text) == ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Good morning, are you there?", IS_HERE),
        ("Hello? Is anybody there?", IS_HERE),
        ("Can you hear me?", HEARS),
        ("Can you hear me on Friday or is the office closed?", ""),
    ],
)
def test_it_is_there_and_hears(text: str, answer: str) -> None:
    assert answer_about_itself(text) == answer
