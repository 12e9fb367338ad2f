"""The caller's last words follow a question for them, and letters a question for a spelling."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.dialogue import add_notes, find_hints
from appliance.engines.llm.small.hints.hint import Hint
from appliance.engines.llm.small.hints.local_facts import NO_FACTS
from appliance.engines.llm.small.hints.own_nature import NO_NAME
from appliance.engines.llm.small.hints.quotations import MOST_QUOTED_WORDS
from appliance.engines.llm.small.hints.step_by_step import STEP_BY_STEP
from appliance.link.engine import ChatMessage

CATS = ChatMessage("user", "What are my cats called?")
ANSWER = ChatMessage("assistant", "Your cats are called Fig and Olive.")


@pytest.mark.parametrize(
    "question",
    [
        "What did I just say?",
        "What did I say a moment ago?",
        "Sorry, what did I ask you?",
        "What was my last question?",
        "Can you repeat what I said",
        "What did I say before that?",
        "What did I just say, please?",
        "What have I said?",
        "What was the last thing I said to you?",
        "Can you repeat my last sentence?",
        "Repeat what I just said.",
    ],
)
def test_question_for_the_last_words_has_them(question: str) -> None:
    [*before, last] = add_notes([CATS, ANSWER, ChatMessage("user", question)])
    assert before == [CATS, ANSWER]
    assert last == ChatMessage("user", f'{question} (Before this, I said: "{CATS.text}")')


@pytest.mark.parametrize(
    "question",
    [
        "What did I say about my cats?",
        "What did you just say?",
        "What do I say to my boss?",
        "What was my last job?",
        "I said stop.",
    ],
)
def test_other_questions_are_unchanged(question: str) -> None:
    dialogue = [CATS, ANSWER, ChatMessage("user", question)]
    assert add_notes(dialogue) == dialogue


def test_first_question_of_a_call_has_nothing_to_quote() -> None:
    dialogue = [ChatMessage("user", "What did I just say?")]
    assert add_notes(dialogue) == dialogue


def test_later_turns_do_not_change_an_earlier_one() -> None:
    """The model's cache of a conversation stays valid."""
    asked = [CATS, ANSWER, ChatMessage("user", "What did I just say?")]
    again = [
        *asked,
        ChatMessage("assistant", "You asked that."),
        ChatMessage("user", "What did I just say?"),
    ]
    later = add_notes(again)
    assert later[:3] == add_notes(asked)
    assert later[-1].text.endswith('I said: "What did I just say?")')


@pytest.mark.parametrize(
    "question",
    [
        "Spell the word Oslo.",
        "Spell Oslo, please.",
        "How do you spell Oslo?",
        "Could you spell out Oslo for me?",
        'What is the spelling of "Oslo"?',
        "How is Oslo spelled?",
        "Spell my name, Oslo.",
    ],
)
def test_question_for_a_spelling_has_the_letters(question: str) -> None:
    (turn,) = add_notes([ChatMessage("user", question)])
    assert turn == ChatMessage("user", f"{question} (Spelled: O-S-L-O.)")


@pytest.mark.parametrize(
    "question",
    [
        "Spell it again, please.",
        "Spell that.",
        "I cannot spell.",
        "There was a cold spell last week.",
        "Who put a spell on the princess in the tale?",
        "Spell my name.",
    ],
)
def test_without_a_word_to_spell_there_are_no_letters(question: str) -> None:
    assert add_notes([ChatMessage("user", question)]) == [ChatMessage("user", question)]


NUMBER = ChatMessage("user", "My number is five five five, zero one four two.")


def test_corrected_number_follows_the_correction_and_is_corrected_again() -> None:
    first, second = (
        ChatMessage("user", "No, it ends in three."),
        ChatMessage("user", "No, it ends in four."),
    )
    quoted = add_notes([NUMBER, ANSWER, first, ANSWER, second])
    assert quoted[2].text == f"{first.text} (The number is five five five, zero one four three.)"
    assert quoted[4].text == f"{second.text} (The number is five five five, zero one four four.)"


def test_limit_follows_a_request_that_no_tool_can_fulfil() -> None:
    request = ChatMessage("user", "Can you call an ambulance?")
    assert add_notes([request]) == [ChatMessage("user", f"{request.text} (You cannot do this.)")]
    assert add_notes([request], may_act=True) == [request]


def test_sum_has_its_result_and_the_next_question_continues_it() -> None:
    dialogue = [
        ChatMessage("user", "What is seven minus fifteen?"),
        ChatMessage("assistant", "Minus eight."),
        ChatMessage("user", "And half of that?"),
    ]
    first, _, last = add_notes(dialogue, may_act=True)
    assert first.text == "What is seven minus fifteen? (The result is minus 8.)"
    assert last.text == "And half of that? (The result is minus 4.)"


def test_question_continues_a_story() -> None:
    story = "I had fifty dollars and spent eighteen. How much is left?"
    dialogue = [ChatMessage("user", story), ChatMessage("user", "And half of that?")]
    assert add_notes(dialogue)[-1].text == "And half of that? (The result is 16.)"


def test_other_question_ends_a_sum() -> None:
    dialogue = [
        ChatMessage("user", "What is seven minus five?"),
        ChatMessage("user", "Is the sky blue?"),
        ChatMessage("user", "Double that."),
    ]
    assert add_notes(dialogue)[1:] == dialogue[1:]


def test_local_fact_has_a_note_unless_the_site_may_have_told_it() -> None:
    dialogue = [ChatMessage("user", "When does the pharmacy open?")]
    (noted,) = add_notes(dialogue)
    assert noted.text == f"{dialogue[0].text} ({NO_FACTS})"
    assert add_notes(dialogue, may_know=True) == dialogue
    assert add_notes(dialogue, may_act=True) == dialogue


@pytest.mark.parametrize(
    "question",
    ["What is your name?", "And what's your name, please?", "May I ask your name?",
     "Do you have a name?", "What should I call you?"],
)  # fmt: skip
def test_question_for_the_bots_name_is_not_about_the_callers(question: str) -> None:
    dialogue = [ChatMessage("user", "I am Peter."), ChatMessage("user", question)]
    assert add_notes(dialogue)[-1].text == f"{question} ({NO_NAME})"
    assert add_notes(dialogue, may_know=True) == dialogue


@pytest.mark.parametrize("question", ["What is my name?", "Is your name on the list of names?"])
def test_other_questions_for_names_are_left_alone(question: str) -> None:
    assert add_notes([ChatMessage("user", question)])[-1].text == question


def test_question_for_a_number_has_the_corrected_one() -> None:
    dialogue = [
        ChatMessage("user", "My code is four one five."),
        ChatMessage("user", "No, the first digit is nine."),
        ChatMessage("user", "Not five, six."),
        ChatMessage("user", "What is my code?"),
    ]
    assert add_notes(dialogue)[-1].text == "What is my code? (The number is nine one six.)"


@pytest.mark.parametrize(
    ("texts", "beginning"),
    [
        (["Stop.", "What did I just say?"], 'You said "Stop."'),
        (["How do you spell heart?"], "H-E-A-R-T."),
        (["My name is Ann.", "Please spell my name."], "A-N-N."),
        (["My code is four one. Read it back."], "The number is four one."),
        (["My code is four one.", "No, it ends in two."], "The number is four two."),
        (["Are you a real person?"], "No, I am a computer program."),
        (["Do I need an umbrella?"], "I am sorry, I do not know the weather."),
    ],
)
def test_known_reply_is_whole(texts: list[str], beginning: str) -> None:
    hint = find_hints([ChatMessage("user", text) for text in texts])[-1]
    assert (hint.beginning, hint.is_whole) == (beginning, True)


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("Call my mother.", "I am sorry, I cannot"),
        ("Did you call her?", "No, I cannot"),
        ("When does the pharmacy open?", "I am sorry, I do not know"),
        ("What is a pharmacy?", ""),
        ("I had six eggs and ate two. How many are left?", ""),
        ("I have 3 pens and 2 are red. How many are blue?", "First,"),
    ],
)
def test_model_continues_a_beginning(text: str, beginning: str) -> None:
    (hint,) = find_hints([ChatMessage("user", text)])
    assert (hint.beginning, hint.is_whole) == (beginning, False)


def test_long_last_words_are_not_said_again() -> None:
    long = ChatMessage("user", "word " * (MOST_QUOTED_WORDS + 1))
    hint = find_hints([long, ChatMessage("user", "What did I just say?")])[-1]
    assert hint.note and not hint.beginning


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("I had six eggs and ate two. How many are left?", "(The result is 4.)"),
        ("How many hours are in two days?", "(The result is 48 hours.)"),
        ("It is one. What time will it be in two hours?", "(The result is 3 o'clock.)"),
        ("How many letters are in the word tree?", "(The result is 4.)"),
        ("I have 3 pens and 2 are red. How many are blue?", f"({STEP_BY_STEP})"),
    ],
)
def test_question_has_its_result_or_is_asked_for_the_sum(text: str, note: str) -> None:
    assert add_notes([ChatMessage("user", text)])[0].text == f"{text} {note}"


@pytest.mark.parametrize(
    "question",
    ["Is it on its way already?", "So the taxi is booked?", "When will it be here?",
     "Great, has it been ordered yet?"],
)  # fmt: skip
def test_refused_request_is_not_fulfilled_later(question: str) -> None:
    dialogue = [ChatMessage("user", "Book me a taxi."), ChatMessage("user", question)]
    assert find_hints(dialogue)[-1].beginning == "No, I cannot"
    assert find_hints(dialogue[1:])[-1].beginning != "No, I cannot"


@pytest.mark.parametrize("question", ["What is a taxi?", "Is Paris in France?", "Why not?"])
def test_other_question_after_a_refusal_is_left_alone(question: str) -> None:
    dialogue = [ChatMessage("user", "Book me a taxi."), ChatMessage("user", question)]
    assert find_hints(dialogue)[-1] == Hint()


def test_number_that_is_told_anew_keeps_its_name() -> None:
    texts = ("My room is three one four.", "No, it is three one five.", "What is my room?")
    hint = find_hints([ChatMessage("user", text) for text in texts])[-1]
    assert hint.beginning == "The number is three one five."


def test_another_number_has_another_name() -> None:
    texts = ("My room is three one four.", "My code is nine one.", "What is my room?")
    assert find_hints([ChatMessage("user", text) for text in texts])[-1] == Hint()
