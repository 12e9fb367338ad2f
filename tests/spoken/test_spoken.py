"""No reference line is spoken worse than before, whole or in a call; the scorer judges rightly."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.engines.tts.text.normalize import normalize
from tests.spoken.__main__ import FILES, main
from tests.spoken.scoring import (
    BY_SOUND,
    Case,
    in_phrases,
    is_right,
    load,
    phrases,
    plain_words,
    score,
)

CASES = [case for file in FILES for case in load(file)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_reference_line_is_spoken_in_an_accepted_way(file: Path) -> None:
    """By its words: `make spoken` judges by the sound how the G2P reads initialisms."""
    cases = [case for case in load(file) if case.category not in BY_SOUND]
    wrong = score(cases, normalize, letters_may_join=True).wrong
    assert [str(line) for line in wrong] == []


# What a reply may begin with: 0 to 12 words, so that a phrase may end at any place of a line.
BEFORE = ["well", "now", "I", "can", "tell", "you", "that", "my", "very", "old", "book", "says"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.written)
def test_line_is_spoken_in_phrases_as_it_is_spoken_whole(case: Case) -> None:
    for count in range(len(BEFORE) + 1):
        text = " ".join([*BEFORE[:count], case.written])
        spoken = in_phrases(normalize)(text)
        assert plain_words(spoken) == plain_words(normalize(text)), phrases(text)


def test_phrases_are_those_of_a_call() -> None:
    assert phrases("Yes, I do. Take 5 mg.") == ["Yes, I do.", "Take 5 mg."]
    assert in_phrases(str.upper)("Yes, I do. Go.") == "YES, I DO. GO."


def test_words_are_compared_without_case_punctuation_and_and() -> None:
    assert plain_words("One hundred and five — it’s “Ok”.") == "one hundred five it's ok"
    assert plain_words("Twenty-one and 5") == "twenty one and 5"


@pytest.mark.parametrize(
    ("spoken", "category", "is_correct"),
    [
        ("At ten PM.", "time", True),
        ("At ten P M.", "time", True),
        ("At ten PM.", "plain", False),
        ("At eleven PM.", "time", False),
        ("At 10 PM.", "time", False),
    ],
)
def test_joined_letters_count_only_in_some_categories(
    spoken: str, category: str, is_correct: bool
) -> None:
    case = Case(category, "At 10 pm.", ("at ten P M",))
    assert is_right(spoken, case) is is_correct
    joined_or_right = is_correct or spoken == "At ten PM."
    assert is_right(spoken, case, letters_may_join=True) is joined_or_right


def test_same_sound_counts_as_right() -> None:
    case = Case("initialism-and-acronym", "Take the CT.", ("take the C T",))
    spelled = {"Take the CT.": "tAk ðə siti", "take the C T": "tAk ðə sˌitˈi"}
    assert is_right("Take the CT.", case, lambda text: spelled.get(text, "?"))
    assert not is_right("Take the CT.", case, lambda text: f"{text} {len(text)}")


def test_line_that_raises_is_wrong_and_does_not_stop_the_score() -> None:
    def fail(text: str) -> str:
        raise KeyError(text)

    result = score([Case("plain", "a", ("a",)), Case("plain", "b", ("b",))], fail)
    assert result.summary() == "0 of 2"
    assert "KeyError" in str(result.wrong[0])


def test_line_without_a_reading_is_reported_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "lines.tsv"
    file.write_text("# comment\nplain\twritten\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"lines\.tsv:2: "):
        load(file)


def test_another_file_can_be_scored_and_the_score_ends_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lines.tsv"
    file.write_text(
        "plain\tPut 5 there.\tput five there\nplain\tPut 6.\tput seven\n", encoding="utf-8"
    )
    monkeypatch.setenv("FILE", str(file))
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["in a call: 1 of 2", "1 of 2"]
    assert "plain: Put 6. -> Put six. (not: put seven)" in lines
    monkeypatch.setenv("FILE", str(tmp_path / "missing.tsv"))
    assert main() == 1
