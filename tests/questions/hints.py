"""Print what each typed question adds to the prompt: python -m tests.questions.hints [FILE ...].

After the question follow its note and the beginning of the reply, with tabs between. No model is
needed. Compare the output of two versions to see which prompts a rule changes, and ask only those
dialogues again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from appliance.engines.llm.small.hints.dialogue import find_hints
from appliance.engines.llm.small.hints.hint import Hint
from appliance.link.engine import ChatMessage
from tests.questions.score import Question, dialogues, parse


def hints(dialogue: Sequence[Question]) -> list[Hint]:
    """Return the hint for each question of a dialogue."""
    return find_hints([ChatMessage("user", question.text) for question in dialogue])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    files = parser.parse_args().files or sorted(Path(__file__).parent.glob("*.tsv"))
    for path in files:
        questions = parse(path.read_text(encoding="utf-8").splitlines())
        for dialogue in dialogues(questions):
            for question, hint in zip(dialogue, hints(dialogue), strict=True):
                where = path.name, question.dialogue, question.text
                print(*where, hint.note, hint.beginning, sep="\t")


if __name__ == "__main__":
    main()
