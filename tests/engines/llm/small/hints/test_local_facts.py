"""Questions that only somebody at the place can answer are recognized, and others are not."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.local_facts import asks_for_local_fact


@pytest.mark.parametrize(
    "text",
    [
        "What is your address?",
        "What’s the phone number of the clinic?",
        "How busy is the clinic?",
        "How many people are waiting?",
        "How long is the waiting time?",
        "Do you know where the nearest toilet is?",
        "Can you tell me when the pharmacy opens?",
        "Tell me what your address is.",
        "Where is Doctor Brown?",
        "Where can I park?",
        "Which floor is radiology on?",
        "When does the pharmacy open?",
        "When is the next bus?",
        "When does my shift start?",
        "Is the doctor in today?",
        "Has my order been shipped?",
        "Is there a bank near here?",
        "Are you open on Sundays?",
        "How much does a visit cost?",
        "Do you take credit cards?",
        "Who is on duty tonight?",
        "Who won the football match yesterday?",
        "What is for lunch today?",
        "What is my blood pressure?",
        "Do I have any appointments?",
    ],
)
def test_question_for_a_fact_of_the_place_is_recognized(text: str) -> None:
    assert asks_for_local_fact(text)


@pytest.mark.parametrize(
    "text",
    [
        "What is a clinic?",
        "What does a nurse do?",
        "What is a normal blood pressure?",
        "How do I lower my blood pressure?",
        "Where is Paris?",
        "Where do I live?",
        "What is my name?",
        "What is my dog called?",
        "What is your name?",
        "Who wrote Hamlet?",
        "Who is the president of France?",
        "When is Christmas?",
        "When did World War Two end?",
        "How many legs does a spider have?",
        "How many days are in a leap year?",
        "How far is the moon?",
        "How much is five plus six?",
        "Which planet is closest to the sun?",
        "Is fire cold?",
        "Do you have the time?",
        "What time is it?",
        "I was at the clinic today.",
        "My order has not arrived.",
        "",
    ],
)
def test_other_texts_are_not(text: str) -> None:
    assert not asks_for_local_fact(text)


def test_what_the_caller_has_told_is_known() -> None:
    told = ["Our office is on the third floor, and it closes at six."]
    assert not asks_for_local_fact("When does the office close?", told)
    assert asks_for_local_fact("When does the pharmacy close?", ["The canteen is on floor two."])


def test_question_or_wish_of_the_caller_tells_nothing() -> None:
    told = ["Where is the doctor?", "I need to see the doctor."]
    assert asks_for_local_fact("Is the doctor in today?", told)


@pytest.mark.parametrize(
    "text",
    [
        "Who is the director of Jaws?",
        "Who was the mayor of New York in 1990?",
        "Where are my kidneys?",
        "Where is the nearest star?",
        "Is the museum of modern art famous?",
        "Are the nurses in France paid well?",
        "How many people work in the world?",
        "How much does a blue whale cost to feed?",
        "Can I bring a gift to a wedding?",
        "What is the address of the White House?",
        "Is the train faster than the car?",
    ],
)
def test_general_knowledge_is_no_fact_of_the_place(text: str) -> None:
    assert not asks_for_local_fact(text)
