"""Requests that the appliance cannot fulfil are recognized, and questions beside them are not."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.impossible_requests import (
    NO_ACTION,
    NO_WEATHER,
    limit_of,
    may_act,
    refusal_of,
)
from appliance.link.engine import Tool


@pytest.mark.parametrize(
    "text",
    [
        "What is the temperature outside?",
        "What’s the weather like?",
        "How warm is it outdoors?",
        "Will it rain tomorrow?",
        "Is it going to snow tonight?",
        "Do I need an umbrella?",
        "Is the sun shining right now?",
        "Should I take an umbrella?",
        "Is it raining in Madrid?",
        "What is the temperature in Berlin?",
    ],
)
def test_question_for_the_weather_is_limited(text: str) -> None:
    assert limit_of(text) == NO_WEATHER


@pytest.mark.parametrize(
    "text",
    [
        "Can you call an ambulance?",
        "Please call my mother.",
        "Okay, then call the police.",
        "I would like you to send an email.",
        "Remember this for my next call.",
        "Tell the nurse that I am in pain.",
        "Let my wife know that I am fine.",
        "Could you please turn off the lights?",
        "Put me through to the ward.",
        "Write this down.",
        "Book a taxi for me.",
        "Set an alarm for six.",
        "Would you mind calling a taxi?",
        "I need an appointment with Doctor Brown.",
        "I'd like to book a table.",
        "Make sure that somebody calls me back.",
        "Pass me on to the ward.",
        "Ask the nurse to come.",
        "Report a broken lamp.",
        "Did you call the police?",
        "Have you already sent it?",
        "Did you ring him?",
        "Give my wife a call.",
        "Text Anna that I am on my way.",
        "Call me back in an hour.",
        "Read me my latest message.",
        "Add milk to my shopping list.",
        "Play me something by Mozart.",
        "Can I talk to a real person?",
        "Let me speak to a human.",
        "Lights off.",
        "Can you come to my house?",
        "Hello, call my mother, please.",
        "Great, then book a table.",
        "Excuse me, could you get the nurse?",
        "Put the song on my playlist.",
        "Bring me a book with poems.",
        "Order flowers for my wife.",
    ],
)
def test_request_to_act_is_limited(text: str) -> None:
    assert limit_of(text) == NO_ACTION


@pytest.mark.parametrize(
    "text",
    [
        "Call me Peter.",
        "Ask me something.",
        "Did you tell me your name?",
        "I need a doctor.",
        "Would you mind repeating that?",
        "Tell me a story.",
        "Tell us the truth.",
        "Can you tell me the time?",
        "Can you repeat it?",
        "Remember that my dog is called Bella.",
        "Repeat my last sentence.",
        "What is an ambulance?",
        "I called the police.",
        "I have to call my mother.",
        "My weather app is broken.",
        "Why does it rain?",
        "How cold is it in Antarctica in winter?",
        "What is the average temperature in Egypt?",
        "Is ice cold?",
        "I am cold today.",
        "How hot is boiling water?",
        "What does a thermometer measure?",
        "How do I write an email?",
        "Is it Monday today?",
        "Will it hurt tomorrow?",
        "Stop.",
        "Play a game with me.",
        "Can I talk to you about my problem?",
        "Find me a word that rhymes with house.",
        "Check my answer, please.",
        "Change the subject.",
        "Remind me what my name is.",
        "Message received.",
        "Good save!",
        "Great post.",
        "",
    ],
)
def test_what_can_be_answered_is_not_limited(text: str) -> None:
    assert limit_of(text) == ""


def test_tools_of_the_site_may_act() -> None:
    shipped = [Tool(name, "", "{}") for name in ("current_time", "end_call")]
    assert not may_act(shipped)
    assert may_act([*shipped, Tool("send_email", "", "{}")])


@pytest.mark.parametrize(
    "text",
    [
        "I want to buy a car. What should I look for?",
        "I want to get some sleep.",
        "I need to find my keys.",
        "I would like to get a dog.",
        "I want to check my knowledge of France.",
        "I need to wash my hands. For how long?",
    ],
)
def test_plan_of_the_caller_is_no_request(text: str) -> None:
    assert limit_of(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "I need to reschedule my appointment.",
        "I'd like to cancel my booking.",
        "I want to order a pizza.",
        "I want to file a complaint.",
    ],
)
def test_service_that_a_caller_wants_is_a_request(text: str) -> None:
    assert limit_of(text) == NO_ACTION


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("Do I need an umbrella?", "I am sorry, I do not know the weather."),
        ("Call my mother.", "I am sorry, I cannot"),
        ("Did you call her?", "No, I cannot"),
    ],
)
def test_reply_begins_with_a_refusal(text: str, beginning: str) -> None:
    assert refusal_of(text, limit_of(text)) == beginning


@pytest.mark.parametrize(
    "text",
    [
        "Extend the story.",
        "Deliver a short speech.",
        "Confirm the meaning of sepsis.",
        "Track the history of Rome.",
        "Give me a picture of Roman life.",
        "Give me your text again.",
        "Reset the conversation.",
        "Mute is what?",
        "Ship is a vessel?",
    ],
)
def test_what_can_be_said_is_no_request(text: str) -> None:
    assert limit_of(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "Extend my lease.",
        "Deliver the box to room four.",
        "Confirm the appointment.",
        "Track my parcel.",
        "Show me the map.",
        "Dial nine one one.",
        "Mute.",
    ],
)
def test_the_same_verbs_ask_for_actions(text: str) -> None:
    assert limit_of(text) == NO_ACTION
