"""How much of a reply the user is considered to have heard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.playout import Rewind
from appliance.gateway.speech.heard import CHARS_PER_SECOND, HeardText
from appliance.gateway.turns.backchannel import BotSpeech

PHRASE = "The capital of France is Paris."


def test_completed_phrase_counts_as_heard() -> None:
    heard = HeardText()
    heard.begin_phrase(PHRASE)
    heard.add_audio(0.1)
    heard.end_phrase()
    assert heard.take() == PHRASE
    assert heard.take() == ""


def test_interrupted_phrase_counts_as_heard_up_to_the_last_whole_word() -> None:
    heard = HeardText()
    heard.begin_phrase(PHRASE)
    heard.add_audio(13 / CHARS_PER_SECOND)
    assert heard.take() == "The capital"


@pytest.mark.parametrize(
    ("sent", "unplayed", "words"),
    [
        (0.3, 0.3, ""),  # at the very start
        (2.0, 2.0 - 3 / CHARS_PER_SECOND, "The"),  # soon after the start
        (1.0, 0.4, "The"),  # the lead is full
        (1.0, 0.0, "The capital of"),  # the synthesis has stalled, and all audio was played
        (1.0, 0.1, "The capital of"),  # it goes on after a stall
        (1.0, 5.0, ""),
    ],
)
def test_words_count_as_far_as_the_audio_was_played(
    sent: float, unplayed: float, words: str
) -> None:
    heard = HeardText()
    heard.begin_phrase(PHRASE)
    heard.add_audio(sent)
    assert heard.take(unplayed) == words


@pytest.mark.parametrize(
    ("unplayed", "words"),
    [
        (0.1, f"Yes. {PHRASE}"),
        (0.6, "Yes. The capital of France is"),
        (0.2 + 0.8, "Yes. The capital of France"),
        (0.2 + 2.2, "Yes."),
        (0.2 + 2.2 + 0.6, ""),
    ],
)
def test_end_of_a_phrase_counts_only_when_it_was_played(unplayed: float, words: str) -> None:
    """The last phrase has begun: 0.2 s of it were sent."""
    heard = HeardText()
    for phrase, seconds in (("Yes.", 0.6), (PHRASE, 2.2)):
        heard.measure(phrase, seconds)
        heard.begin_phrase(phrase)
        heard.add_audio(seconds)
        heard.end_phrase()
    heard.begin_phrase("It is large.")
    heard.add_audio(0.2)
    assert heard.take(unplayed) == words


def test_last_word_counts_before_the_pause_that_follows_it() -> None:
    heard = HeardText()
    heard.measure(PHRASE, 2.0)
    heard.begin_phrase(PHRASE)
    heard.add_audio(2.0)
    heard.end_phrase()
    assert heard.take(0.2) == PHRASE


def test_no_text_counts_as_heard_before_the_first_sample() -> None:
    heard = HeardText()
    heard.begin_phrase(PHRASE)
    assert heard.take() == ""


SERIAL = "The serial number is 4F7K-9Q2M-X8T3-77AB-C0D1-93PZ-5518 for now."


def test_serial_number_counts_only_when_all_of_it_was_spoken() -> None:
    """By Kokoro it takes 9 s: after 2 s of it, none of it is remembered."""
    heard = HeardText()
    for seconds, text in ((3.0, "The serial number is"), (5.0, "The serial number is")):
        heard.begin_phrase(SERIAL)
        heard.add_audio(seconds)
        assert heard.take() == text
    heard.begin_phrase(SERIAL)
    heard.add_audio(11.5)
    assert heard.take().startswith(SERIAL.removesuffix(" for now."))


def test_length_of_the_audio_decides_once_it_is_known() -> None:
    heard = HeardText()
    heard.measure(f" {PHRASE} ", 10.0)  # much slower than estimated
    heard.begin_phrase(PHRASE)
    heard.add_audio(4.0)
    assert heard.take() == "The capital"
    heard.begin_phrase("Another phrase, of which nothing is known.")
    heard.add_audio(4.5)
    assert heard.take() == "Another phrase, of which nothing is known."


def test_whole_phrase_counts_when_all_of_its_measured_audio_was_played() -> None:
    heard = HeardText()
    heard.measure(SERIAL, 12.0)
    heard.begin_phrase(SERIAL)
    heard.add_audio(12.0)
    heard.end_phrase()
    heard.begin_phrase("Is that right?")
    heard.add_audio(0.4)
    assert heard.take(0.4) == SERIAL


@pytest.mark.parametrize(
    "phrase", ["Take 500 mg every 8 h.", "It is $1,450.75 now.", "Call 020 7946 0958 now."]
)
def test_numbers_and_units_take_longer_than_their_letters(phrase: str) -> None:
    heard = HeardText()
    heard.begin_phrase(phrase)
    heard.add_audio(len(phrase) / CHARS_PER_SECOND)
    assert heard.take() != phrase


def test_faster_voice_gets_through_more_text_in_the_same_time() -> None:
    slow, fast = HeardText(speed=1.0), HeardText(speed=2.0)
    for heard in (slow, fast):
        heard.begin_phrase(PHRASE)
        heard.add_audio(1.0)
    assert len(fast.take()) > len(slow.take())


def test_repeated_phrase_counts_once() -> None:
    heard = HeardText()
    heard.begin_phrase("Yes.")
    heard.end_phrase()
    heard.begin_phrase(PHRASE)
    heard.add_audio(1.0)
    heard.rewind(Rewind(("Yes.", PHRASE), 0.0, 0.1))
    heard.add_audio(1.0)
    heard.end_phrase()
    heard.repeat_phrase(PHRASE)
    heard.add_audio(13 / CHARS_PER_SECOND)
    assert heard.take() == "Yes. The capital"


@pytest.mark.parametrize(
    ("heard_before", "sent_again", "unplayed", "words"),
    [
        (0.0, 1.0, 0.0, "The capital of"),
        (0.0, 1.0, 0.4, "The"),
        (1.0, 0.4, 0.4, "The capital of"),  # nothing of the repeated audio was played yet
        (1.0, 0.8, 0.4, "The capital of"),  # it has not come as far as the first time
        (1.0, 1.7, 0.4, "The capital of France"),
    ],
)
def test_interruption_of_a_repeated_phrase_counts_the_words_that_were_heard_in_it(
    heard_before: float, sent_again: float, unplayed: float, words: str
) -> None:
    """They may have been heard before the pause, or after it."""
    heard = HeardText()
    heard.begin_phrase(PHRASE)
    heard.add_audio(heard_before + 0.4)
    heard.rewind(Rewind((PHRASE,), 0.0, heard_before))
    heard.repeat_phrase(PHRASE)
    heard.add_audio(sent_again)
    assert heard.take(unplayed) == words


def test_second_pause_in_a_phrase_forgets_nothing_of_what_was_heard_before_the_first() -> None:
    heard = HeardText()
    heard.begin_phrase(PHRASE)
    heard.add_audio(1.4)
    heard.rewind(Rewind((PHRASE,), 0.0, 1.0))
    heard.repeat_phrase(PHRASE)
    heard.add_audio(0.5)
    heard.rewind(Rewind((PHRASE,), 0.0, 0.1))
    heard.repeat_phrase(PHRASE)
    assert heard.take() == "The capital of"


def test_phrase_after_a_repeated_one_counts_only_as_far_as_it_was_played() -> None:
    heard = HeardText()
    heard.begin_phrase("Yes.")
    heard.add_audio(0.6)
    heard.end_phrase()
    heard.begin_phrase(PHRASE)
    heard.add_audio(0.4)
    heard.rewind(Rewind(("Yes.", PHRASE), 0.0, 0.5))
    heard.repeat_phrase("Yes.")
    heard.add_audio(0.6)
    heard.end_phrase()
    heard.repeat_phrase(PHRASE)
    heard.add_audio(0.4)
    assert heard.take(0.4) == "Yes."


def test_phrases_before_a_pause_count_however_much_is_not_played_after_it() -> None:
    """A client that does not drop its audio at a pause still plays some of it."""
    heard = HeardText()
    heard.begin_phrase("Yes.")
    heard.add_audio(0.6)
    heard.end_phrase()
    heard.begin_phrase(PHRASE)
    heard.add_audio(0.4)
    heard.rewind(Rewind((PHRASE,), 0.0, 0.4))
    heard.add_audio(0.1)
    assert heard.take(0.4) == "Yes. The"


def test_phrases_before_a_call_of_a_tool_of_the_client_count() -> None:
    """The client is not told to drop what it has not played of them."""
    heard = HeardText()
    heard.begin_phrase(PHRASE)
    heard.add_audio(2.0)
    heard.end_phrase()
    heard.pause_reply()
    assert heard.take(0.4) == PHRASE


def test_rewind_to_a_phrase_before_a_notice_counts_the_phrase_once() -> None:
    heard = HeardText()
    heard.begin_phrase(PHRASE)
    heard.add_audio(2.0)
    heard.end_phrase()
    heard.begin_phrase("")  # a notice
    heard.add_audio(0.2)
    heard.end_phrase()
    heard.rewind(Rewind((PHRASE, ""), 0.0, 1.9))
    heard.add_audio(2.0)
    heard.end_phrase()
    heard.repeat_phrase("")
    heard.add_audio(1.0)
    assert heard.take(0.0) == PHRASE


def test_audio_of_a_notice_after_a_phrase_is_not_taken_for_the_end_of_the_phrase() -> None:
    heard = HeardText()
    heard.begin_phrase(PHRASE)
    heard.add_audio(2.0)
    heard.end_phrase()
    heard.begin_phrase("")
    heard.add_audio(0.4)
    heard.end_phrase()
    assert heard.take(0.4) == PHRASE


def test_phrase_that_goes_on_where_it_stopped_counts_from_there() -> None:
    heard = HeardText()
    heard.begin_phrase(PHRASE)
    heard.add_audio(2.0)
    heard.rewind(Rewind((PHRASE,), 13 / CHARS_PER_SECOND, 13 / CHARS_PER_SECOND))
    assert heard.take() == "The capital"


def test_phrase_repeated_after_its_answer_was_taken_does_not_count_again() -> None:
    heard = HeardText()
    heard.begin_phrase(PHRASE)
    heard.end_phrase()
    assert heard.take() == PHRASE
    heard.rewind(Rewind((PHRASE,), 0.0, 0.0))
    heard.repeat_phrase(PHRASE)
    heard.add_audio(9.0)
    heard.end_phrase()
    assert heard.take() == ""


def test_hold_message_within_a_phrase_is_not_taken_for_its_words() -> None:
    heard = HeardText()
    for unplayed, words in ((0.0, "The capital"), (2.5, "The")):
        heard.begin_phrase(PHRASE)
        heard.add_audio(0.7)
        heard.break_phrase()
        heard.add_audio(2.0)
        assert heard.take(unplayed) == words


@pytest.mark.parametrize(
    ("again", "unplayed", "words"),
    [
        (0.0, 0.0, "The capital"),
        (0.4, 0.4, "The capital"),
        (0.4, 0.9, "The capital"),
        (0.7, 0.0, "The capital"),
        (1.0, 0.0, "The capital of"),
    ],
)
def test_phrase_that_begins_again_after_the_hold_message_counts_once(
    again: float, unplayed: float, words: str
) -> None:
    heard = HeardText()
    heard.begin_phrase("Yes.")
    heard.add_audio(0.6)
    heard.end_phrase()
    heard.begin_phrase(PHRASE)
    heard.add_audio(0.7)
    heard.break_phrase()
    heard.add_audio(1.0)
    heard.restart_phrase(PHRASE)
    heard.add_audio(again)
    assert heard.take(unplayed) == f"Yes. {words}"


def test_phrase_whose_synthesis_failed_counts_as_far_as_it_was_spoken() -> None:
    heard = HeardText()
    heard.begin_phrase(PHRASE)
    heard.add_audio(0.7)
    heard.break_phrase()
    heard.end_phrase()
    assert heard.take() == "The capital"


@pytest.mark.parametrize(
    ("unplayed", "said"), [(0.5, BotSpeech.NOTHING), (0.1, BotSpeech.STATEMENT)]
)
def test_bot_has_said_nothing_before_its_first_word_was_played(
    unplayed: float, said: BotSpeech
) -> None:
    for phrase in ("Yes.", PHRASE):
        heard = HeardText()
        heard.begin_phrase(phrase)
        heard.add_audio(0.5)
        if phrase == "Yes.":
            heard.end_phrase()
        assert heard.said(unplayed) is said


def test_bot_has_asked_while_its_question_plays_and_just_after() -> None:
    heard = HeardText()
    heard.begin_phrase("It is Paris.")
    heard.end_phrase()
    heard.begin_phrase("Shall I go on?")
    assert heard.said() is BotSpeech.QUESTION
    heard.end_phrase()
    heard.take()
    assert heard.said() is BotSpeech.QUESTION


@given(st.lists(st.tuples(st.text("ab ", max_size=20), st.floats(0, 3), st.booleans()), max_size=9))
def test_heard_text_is_a_prefix_of_the_spoken_text(
    phrases: list[tuple[str, float, bool]],
) -> None:
    heard, spoken = HeardText(), []
    for text, seconds, is_complete in phrases:
        heard.begin_phrase(text)
        heard.add_audio(seconds)
        if is_complete:
            heard.end_phrase()
            spoken.append(text.strip())
    if phrases and not phrases[-1][2]:
        spoken.append(phrases[-1][0].strip())
    assert " ".join(" ".join(spoken).split()).startswith(" ".join(heard.take().split()))
