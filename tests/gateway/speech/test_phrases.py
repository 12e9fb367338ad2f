"""Phrases end where a speaker pauses, the first one is short, and no text is lost."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.speech.phrases import PhraseCutter
from appliance.gateway.speech.unsplit_names import UnsplitNames

RATIO = 0.65


def phrases(text: str, first: int = 5, later: int = 14, ratio: float = RATIO) -> list[str]:
    cutter = PhraseCutter(first, later, ratio)
    return [phrase.strip() for phrase in [*cutter.feed(text), *cutter.flush()]]


@pytest.mark.parametrize(
    ("reply", "first"),
    [
        ("Hello! How can I help you today?", "Hello!"),
        ("The capital of France is Paris, and it is old.", "The capital of France is Paris,"),
        ("The sky appears blue because of scattering in the air.", "The sky appears blue"),
        ("I think you should try the new restaurant in town today.", "I think you should try"),
        ("My name is Alice", "My name is Alice"),
        ("Yes, I think so.", "Yes, I think so."),
        ("First of all, you need a big pan.", "First of all,"),
    ],
)
def test_first_phrase_is_short_but_sounds_natural(reply: str, first: str) -> None:
    assert phrases(reply)[0] == first


@pytest.mark.parametrize(
    "whole",
    [
        "Dr. Smith",
        "3.30 p.m.",
        "March 5, 2024",
        "2.1 million",
        "the big old house",
        "No. 5",
        "https://example.com/a,b.",
        "e.g. the menu",
        "J. Smith",
        "$3.50",
        "[the whole menu](https://example.com)",
        "U.S. dollars",
        "20 degrees",
        "0.5 – 1 mg",
        "$5 – $10",
        "3 : 1",
        "10 mg / kg / h",
        "6 x 4 ft",
        "King Henry VIII",
        "stage IIIB",
        "Rm. 302",
        "5 ft. 10 in. tall",
        "code is 739154",
        "flight UA 482",
        "35 cu. ft. of gas",
        "ll. 3–7",
        "Dec. 30, 2026–Jan. 5, 2027",
        "a fever of 38.5 C",
        "until 5/1",
        "takes 1h30",
    ],
)
@pytest.mark.parametrize("before", ["", "Go to ", "So it was that we saw ", "They told me about "])
def test_words_that_belong_together_are_not_cut(before: str, whole: str) -> None:
    cut = phrases(f"{before}{whole} and then we went home because it was late.")
    assert any(whole in phrase for phrase in cut), cut


def test_sentence_ends_a_phrase() -> None:
    assert phrases("It is late. We should go. Good night.") == [
        "It is late.",
        "We should go.",
        "Good night.",
    ]


def test_abbreviation_ends_a_sentence_only_if_a_new_one_begins() -> None:
    assert phrases("See you at 5 p.m. Bring your card.") == [
        "See you at 5 p.m.",
        "Bring your card.",
    ]
    assert phrases("Be here at 5 p.m. on Monday.", first=9) == ["Be here at 5 p.m. on Monday."]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("This is my app. I like it.", "This is my app."),
        ("It was Elizabeth I. She ruled.", "It was Elizabeth I."),
        ("I know the code. It is long.", "I know the code."),
        ("It is late – we should go home now.", "It is late –"),
    ],
)
def test_words_that_only_look_like_a_code_or_a_range_are_cut(text: str, first: str) -> None:
    assert phrases(text)[0] == first


def test_endless_ratio_is_cut_nevertheless() -> None:
    assert max(len(phrase.split()) for phrase in phrases("1 / " * 300)) < 150


def test_list_items_are_phrases() -> None:
    cut = phrases("Three tips:\n\n1. Eat well.\n2. Sleep eight hours\n3. Walk")
    assert cut == ["Three tips:", "1. Eat well.", "2. Sleep eight hours", "3. Walk"]


def test_long_sentence_is_cut_at_clauses_and_not_within_them() -> None:
    cut = phrases(
        "The best thing to do on a rainy day is to stay inside with a good book, make a pot of "
        "tea, and listen to the rain on the roof while the world outside goes by without you."
    )
    lengths = [len(phrase.split()) for phrase in cut]
    assert lengths[0] <= 6
    assert max(lengths) <= 20
    assert all(phrase.split()[-1] not in {"a", "the", "of", "to", "on"} for phrase in cut)


HOURS = "Our opening hours are from nine in the morning until five in the afternoon, every day."


def test_phrase_can_be_synthesized_while_earlier_phrases_play() -> None:
    assert phrases("Our opening hours are from nine in the morning until five.")[:2] == [
        "Our opening hours",
        "are from nine",
    ]
    for reply in (HOURS, "I am sorry, I do not know the weather today because I am not told."):
        unspoken = 0.0
        for number, phrase in enumerate(phrases(reply)):
            words = len(phrase.split())
            assert not number or words * RATIO <= max(unspoken, 5 * RATIO)
            unspoken = max(0.0, unspoken - words * RATIO) + words


def test_fast_machine_gets_long_phrases_immediately() -> None:
    assert phrases(HOURS, ratio=0.3) == [
        "Our opening hours",
        "are from nine in the morning until five in the afternoon,",
        "every day.",
    ]


def test_pending_text_is_the_part_after_the_last_phrase() -> None:
    cutter = PhraseCutter(5, 14, RATIO)
    assert cutter.feed("Hello! How are") == ["Hello!"]
    assert cutter.pending == " How are"


def name_phrases(reply: str, *names: str) -> list[str]:
    cutter = PhraseCutter(3, 14, RATIO, UnsplitNames(names))
    return [phrase.strip() for phrase in (*cutter.feed(reply), *cutter.flush())]


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        ("They meet at our Mother and Baby Unit on Monday.", "Mother and Baby Unit"),
        ("You can call Smith, Jones and Partners on Monday.", "smith, jones and partners"),
        ("It is open! Day Hospital patients come first.", "open day hospital"),
    ],
)
def test_name_of_the_site_is_never_split(reply: str, name: str) -> None:
    def has_whole_name(phrases: list[str]) -> bool:
        words = [re.sub(r"[^\w ]", "", phrase).casefold() for phrase in phrases]
        return any(name.replace(",", "") in phrase for phrase in words)

    name = name.casefold()
    assert has_whole_name(name_phrases(reply, name))
    assert not has_whole_name(name_phrases(reply))
    assert " ".join(name_phrases(reply, name)) == reply


def test_words_that_only_begin_like_a_name_are_split_as_without_it() -> None:
    reply = "Hello St. Martin. The hospital is open, and it is warm."
    assert name_phrases(reply, "St. Mary's Hospital") == name_phrases(reply)


@given(
    st.lists(st.sampled_from(["a", "b", "c", "a.", "b,", "c!"]), min_size=1, max_size=40),
    st.lists(st.sampled_from(["a b", "b c a", "c c"]), max_size=3),
)
def test_no_name_is_split_and_no_word_is_lost(words: list[str], names: list[str]) -> None:
    known = UnsplitNames(names)
    cut = name_phrases(" ".join(words), *names)
    assert " ".join(cut).split() == words
    end = 0
    for phrase in cut[:-1]:
        end += len(phrase.split())
        assert not known.split_after(words, end - 1)


_SNIPPETS = ["the", "of", "Dr.", "3.30", "p.m.", "No.", "and,", "but", "Hello!", "yes.", "1."]
_SNIPPETS += ["\n", "\n\n", "-", "—", "[", "]", "...", "$5", "U.S."]


@given(
    st.lists(
        st.one_of(
            st.text(max_size=8),
            st.sampled_from(_SNIPPETS),
            st.just(" "),
        ),
        max_size=80,
    ),
    st.integers(1, 8),
    st.integers(1, 20),
    st.sampled_from([0.1, RATIO, 1.0, 3.0]),
)
def test_joined_phrases_equal_the_text_for_any_chunking(
    chunks: list[str], first: int, later: int, ratio: float
) -> None:
    text = "".join(chunks)
    cutter = PhraseCutter(first, later, ratio)
    cut = [phrase for chunk in chunks for phrase in cutter.feed(chunk)]
    cut += cutter.flush()
    assert "".join("".join(cut).split()) == "".join(text.split())
    assert "".join(cut) == text[: len("".join(cut))]
    single_feed = PhraseCutter(first, later, ratio)
    assert single_feed.feed(text) + single_feed.flush() == cut
    assert all(phrase.strip() for phrase in cut)
