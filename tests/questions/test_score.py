"""What counts as a right answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.questions.score import Question, dialogues, faults, parse

# Not review.tsv: "I am sorry" answers most of it, because it asks for what the appliance cannot do.
NAMES = ("given", "held_back", "unseen", "callers", "callers_held_back")
FILES = [Path(__file__).with_name(f"{name}.tsv") for name in NAMES]


def questions(file: Path) -> list[Question]:
    return parse(file.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("form", ["{}", 'You said "{}".', "You asked: {}"])
def test_bot_that_repeats_the_question_is_wrong(file: Path, form: str) -> None:
    """Short greetings are the exception: "Hello." may be answered by itself."""
    right = [
        question.text
        for question in questions(file)
        if not faults(question, form.format(question.text), [])
    ]
    assert [text for text in right if len(text.split()) > 3] == []
    assert len(right) <= 4


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("answer", ["", "I am sorry, I do not know.", "Yes.", "All right."])
def test_bot_with_one_answer_is_mostly_wrong(file: Path, answer: str) -> None:
    asked = questions(file)
    right = sum(
        not faults(question, answer, [answer] * number)
        for dialogue in dialogues(asked)
        for number, question in enumerate(dialogue)
    )
    assert right < len(asked) / 2


@pytest.mark.parametrize(
    ("answer", "is_right"),
    [
        ("It is spelled C, A, T.", True),
        ("C-A-T", True),
        ('The word "cat" is spelled "cat".', False),
    ],
)
def test_repeated_word_is_not_spelled(answer: str, is_right: bool) -> None:
    (question,) = [each for each in questions(FILES[0]) if each.text == "Spell the word cat."]
    assert (not faults(question, answer, [])) == is_right
