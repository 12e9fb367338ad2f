"""The site's lexicon: which lines are entries, which text they match, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadLexicon
from appliance.settings import LEXICON_FILE, TTSConfig
from appliance.site_lexicon import (
    MAX_ENTRIES,
    MAX_FILE_BYTES,
    MAX_PROBLEMS,
    PHONEMES,
    SiteLexicon,
    examine,
    parse,
    read,
)

ROOT = Path(__file__).parent.parent
VOCABULARY = ROOT / "weights" / "kokoro-82m" / "vocab.json"


def lexicon(*lines: str) -> SiteLexicon:
    parsed, problems = parse("\n".join(lines))
    assert not problems
    return parsed


def settings_with(path: Path) -> TTSConfig:
    return TTSConfig(lexicon_file=path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Give Kefzol now.", "Give kef zole now."),
        ("KEFZOL, kefzol", "kef zole, kef zole"),
        ("Kefzol's label, (Kefzol) and Kefzol.", "kef zole's label, (kef zole) and kef zole."),
        ("**Kefzol**/Ancef", "**kef zole**/Ancef"),
        ("Kefzols and xKefzol", "Kefzols and xKefzol"),
        ("kefzol.example and nurse@kefzol", "kefzol.example and nurse@kefzol"),
    ],
)
def test_whole_words_are_replaced_in_any_case(text: str, said: str) -> None:
    assert lexicon("Kefzol\tkef zole").mark(text).text == said


def test_capital_inside_makes_an_entry_case_sensitive() -> None:
    entries = lexicon("OR\toperating room", "pH\tpea aitch")
    assert entries.mark("Go to the OR or wait.").text == "Go to the operating room or wait."
    assert entries.mark("The pH, not the PH").text == "The pea aitch, not the PH"


def test_longest_entry_wins_and_spaces_may_be_any_blanks() -> None:
    entries = lexicon("Ward\tunit", "Ward 7B\tthe stroke unit", "A&E\temergency")
    assert entries.mark("Ward  7B, ward 7, A&E").text == "the stroke unit, unit 7, emergency"


def test_letters_match_composed_or_not() -> None:
    assert lexicon("İpek\tee peck").mark("İpek").text == "ee peck"
    assert lexicon("Nguyễn\tnwin").mark("Dr. Nguye\u0302\u0303n").text == "Dr. nwin"


def test_phonemes_are_marked_and_can_be_read_back() -> None:
    marked = lexicon("Siobhan\t/ʃəvˈɔn/", "Kefzol\tkef zole").mark("Siobhan's Kefzol, Siobhan!")
    assert len(marked.marks) == 2
    assert set(marked.phonemes.values()) == {"ʃəvˈɔn"}
    assert "Siobhan" not in marked.text
    assert marked.unmark(marked.text) == "Siobhan's kef zole, Siobhan!"


def test_mark_is_never_a_word_of_the_text() -> None:
    entries = lexicon("Siobhan\t/ʃəvˈɔn/")
    first = entries.mark("Siobhan").text
    marked = entries.mark(f"{first} and Siobhan")
    assert marked.text.startswith(f"{first} and ")
    assert marked.unmark(marked.text) == f"{first} and Siobhan"


def test_comments_blank_lines_and_a_byte_order_mark_are_ignored() -> None:
    assert len(lexicon("\ufeff# written\tsaid", "", "  ", "Kefzol\tkef zole\r")) == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("Kefzol kef zole", "it has 0 TABs"),
        ("Kefzol\tkef\tzole", "it has 2 TABs"),
        ("\tkef zole", "as written has no letter or digit"),
        ("Kefzol\t", "as said has no letter or digit"),
        ("Kefzol\t...", "as said has no letter or digit"),
        ("x" * 61 + "\tx", "has 61 characters; 60 are allowed"),
        ("x\t" + "x" * 201, "has 201 characters; 200 are allowed"),
        ("Kefzol\tkef\u200bzole", "control character"),
        ("Kefzol\t/kˈɛfzOl", "between two slashes"),
        ("Kefzol\t/kɛf/zOl/", "between two slashes"),
        ("Kefzol\t/kɛfrOl/", "'r' is not a phoneme of the voice; write 'ɹ'"),
        ("Kefzol\t/kɛf5/", "'5' is not a phoneme of the voice"),
        ("Kefzol\t/ kfz /", "no vowel"),
        ("ANCEF\tan sef", "'ANCEF' is already in line 1"),
    ],
)
def test_wrong_line_is_reported_with_its_number(line: str, why: str) -> None:
    kept, problems = parse(f"ANCEF\tan sef\n\n{line}\nKeflex\tkef lex")
    assert [problem.line for problem in problems] == [3]
    assert why in problems[0].why
    assert len(kept) == 2


def test_same_word_in_another_case_is_a_duplicate_unless_case_counts() -> None:
    assert [p.line for p in parse("kefzol\ta\nKefzol\tb")[1]] == [2]
    assert not parse("kefzol\ta\nKEFZOL\tb")[1]


def test_number_of_problems_and_entries_is_bounded() -> None:
    assert len(parse("wrong\n" * 1000)[1]) == MAX_PROBLEMS
    kept, problems = parse("".join(f"word{n}\tw\n" for n in range(MAX_ENTRIES + 5)))
    assert len(kept) == MAX_ENTRIES
    assert [problem.line for problem in problems] == [MAX_ENTRIES + 1]


def test_file_is_read_and_a_wrong_line_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.tsv"
    path.write_text("Kefzol\tkef zole\nKeflex\n", encoding="utf-8")
    with pytest.raises(BadLexicon, match=r"lexicon\.tsv, line 2: it has 0 TABs") as caught:
        read(settings_with(path))
    assert caught.value.exit_code == 78
    path.write_text("Kefzol\tkef zole\n", encoding="utf-8")
    assert len(read(settings_with(path))) == 1


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [(b"a\tb\nNguy\xean\tnwin\n", 2, "not UTF-8"), (b"#" * (MAX_FILE_BYTES + 1), 0, "bytes")],
)
def test_file_that_is_not_a_lexicon_is_refused(
    tmp_path: Path, content: bytes, line: int, why: str
) -> None:
    path = tmp_path / "lexicon.tsv"
    path.write_bytes(content)
    _, problems = examine(settings_with(path))
    assert [problem.line for problem in problems] == [line]
    assert why in problems[0].why


def test_only_the_file_of_the_default_path_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TTSConfig().lexicon_file == LEXICON_FILE
    missing = tmp_path / "none.tsv"
    with pytest.raises(BadLexicon, match=r"none\.tsv: the file does not exist"):
        read(settings_with(missing))
    monkeypatch.setattr("appliance.site_lexicon.LEXICON_FILE", missing)
    assert len(read(settings_with(missing))) == 0
    with pytest.raises(BadLexicon, match="it is a folder"):
        read(dataclasses.replace(TTSConfig(), lexicon_file=tmp_path))


def test_example_of_the_release_and_that_of_the_document_are_valid() -> None:
    example = (ROOT / "ops" / "lexicon.example.tsv").read_text(encoding="utf-8")
    entries, problems = parse(example)
    assert not problems
    assert len(entries) == 4
    document = (ROOT / "docs" / "lexicon.md").read_text(encoding="utf-8")
    for line in example.splitlines():
        assert line.startswith("#") or f"    {line}\n" in document


def test_phonemes_are_those_of_the_voice() -> None:
    vocabulary = json.loads(VOCABULARY.read_text(encoding="utf-8"))["vocab"]
    assert vocabulary.keys() >= PHONEMES


@given(st.text(), st.text())
def test_any_file_and_any_text_are_handled(file: str, text: str) -> None:
    parsed, _ = parse(file)
    marked = parsed.mark(text)
    assert isinstance(marked.unmark(marked.text), str)
    assert SiteLexicon().mark(text).text == text
