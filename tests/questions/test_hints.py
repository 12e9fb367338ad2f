"""Replies that need no model are right in all files of questions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.questions.hints import hints
from tests.questions.score import dialogues, faults, parse

FILES = sorted(Path(__file__).parent.glob("*.tsv"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_known_replies_are_right(path: Path) -> None:
    wrong = []
    for dialogue in dialogues(parse(path.read_text(encoding="utf-8").splitlines())):
        replies: list[str] = []
        for question, hint in zip(dialogue, hints(dialogue), strict=True):
            if hint.is_whole:
                if found := faults(question, hint.beginning, replies):
                    wrong.append((question.text, hint.beginning, found))
                replies.append(hint.beginning)
    assert wrong == []
