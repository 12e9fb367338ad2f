"""From text as written to words and phonemes, with the site's lexicon and folded letters."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.engines.tts.letters import fold
from appliance.engines.tts.reader import Reader, Reading
from appliance.site_lexicon import parse

FILE = """\
# as written\tas said
Kefzol\tkef zole
Siobhan\t/ʃəvˈɔn/
Ward 7B\tthe stroke unit
Łucja\t/lˈusjə/
"""


@pytest.fixture(scope="module")
def reader(weights: Path) -> Reader:
    lexicon, problems = parse(FILE)
    assert not problems
    return Reader(weights, lexicon)


def test_words_of_the_site_are_said_as_the_site_says_them(reader: Reader) -> None:
    reading = reader.read("Give Kefzol on Ward 7B.")
    assert reading.words == "Give kef zole on the stroke unit."
    assert reading.phonemes == reader.read("Give kef zole on the stroke unit.").phonemes


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("Siobhan.", "ʃəvˈɔn."),
        ("Siobhan's", "ʃəvˈɔnz"),
        ("(Siobhan)", "(ʃəvˈɔn)"),
        ("**Siobhan**, Łucja!", "ʃəvˈɔn, lˈusjə!"),
        ("Siobhan/Łucja", "ʃəvˈɔn lˈusjə"),
    ],
)
def test_phonemes_of_the_site_are_used_unchanged(reader: Reader, text: str, phonemes: str) -> None:
    reading = reader.read(text)
    assert reading.phonemes == phonemes
    assert "site" not in reading.words.lower()
    assert "Siobhan" in reading.words


def test_lexicon_leaves_other_text_alone(reader: Reader, weights: Path) -> None:
    text = "Doctor Smith gives 5 mg at 9:30, and COPD's cause is smoke."
    assert reader.read(text) == Reader(weights).read(text)


def test_letters_beyond_latin_1_are_spoken(reader: Reader) -> None:
    assert reader.read("Nguyễn").phonemes == reader.read("Nguyen").phonemes
    assert reader.read("Dvořák").phonemes == reader.read("Dvorak").phonemes
    assert reader.read("Phạm") == Reading("Pham", reader.read("Pham").phonemes)
    assert reader.read("你好") == Reading("", "")


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Trần Tŵm Łukasz", "Tran Twm Lukasz"),
        ("Żółć Đinh İpek œuvre Œuvre ŋ", "Zolc Dinh Ipek oeuvre Oeuvre ng"),
        ("café, Zoë, ß, 5 µg, Ω, Ελλάδα, Москва, ½", "café, Zoë, ß, 5 µg, Ω, Ελλάδα, Москва, ½"),
    ],
)
def test_only_words_beyond_latin_1_are_folded(text: str, folded: str) -> None:
    assert fold(text) == folded
    assert fold(unicodedata.normalize("NFD", text)) == unicodedata.normalize("NFC", folded)


def test_letters_of_europe_and_vietnam_have_base_letters() -> None:
    for code in (*range(0x100, 0x180), *range(0x1E00, 0x1E96), *range(0x1EA0, 0x1EFA)):
        folded = fold(chr(code))
        assert folded.isascii() and folded.isalpha(), chr(code)
        assert folded[0].isupper() == chr(code).isupper()


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60), british=st.booleans())
def test_any_text_is_read(reader: Reader, text: str, british: bool) -> None:
    assert isinstance(reader.read(f"{text} Siobhan {text}", british), Reading)
