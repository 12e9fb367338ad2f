"""What of a reply the user has heard."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pipecat.frames.frames import (
    AggregatedTextFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    ControlFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.tests.utils import SleepFrame, run_test

from appliance.gateway.heard import CHARS_PER_SECOND, HeardProcessor, HeardText
from appliance.link.engine import OUTPUT_SAMPLE_RATE

PHRASE = "The capital of France is Paris."


def test_a_phrase_that_was_played_was_heard() -> None:
    heard = HeardText()
    heard.phrase_begins(PHRASE)
    heard.sent(0.1)
    heard.phrase_ends()
    assert heard.take() == PHRASE
    assert heard.take() == ""


def test_of_a_phrase_that_was_cut_off_whole_words_were_heard() -> None:
    heard = HeardText()
    heard.phrase_begins(PHRASE)
    heard.sent(13 / CHARS_PER_SECOND)
    assert heard.take() == "The capital"


def test_what_was_sent_ahead_of_its_playing_was_not_heard() -> None:
    heard = HeardText(lead_seconds=0.5)
    for phrase_seconds, words in ((0.3, ""), (0.5 + 13 / CHARS_PER_SECOND, "The capital")):
        heard.phrase_begins(PHRASE)
        heard.sent(phrase_seconds)
        assert heard.take() == words


def test_before_the_first_sample_nothing_was_heard() -> None:
    heard = HeardText()
    heard.phrase_begins(PHRASE)
    assert heard.take() == ""


def test_a_faster_voice_is_heard_sooner() -> None:
    slow, fast = HeardText(speed=1.0), HeardText(speed=2.0)
    for heard in (slow, fast):
        heard.phrase_begins(PHRASE)
        heard.sent(1.0)
    assert len(fast.take()) > len(slow.take())


@given(st.lists(st.tuples(st.text("ab ", max_size=20), st.floats(0, 3), st.booleans()), max_size=9))
def test_what_was_heard_is_what_was_said_up_to_a_word(
    phrases: list[tuple[str, float, bool]],
) -> None:
    heard, said = HeardText(), []
    for text, seconds, ends in phrases:
        heard.phrase_begins(text)
        heard.sent(seconds)
        if ends:
            heard.phrase_ends()
            said.append(text.strip())
    if phrases and not phrases[-1][2]:
        said.append(phrases[-1][0].strip())
    assert " ".join(" ".join(said).split()).startswith(" ".join(heard.take().split()))


class AnswerEnd(ControlFrame):
    """Follows the last word of an answer."""


class Session:
    """Notes what the processor reports."""

    def __init__(self) -> None:
        self.speaking = 0
        self.heard: list[tuple[str, bool, bool]] = []

    async def plays(self, *frames: Frame) -> None:
        processor = HeardProcessor(
            HeardText(), AnswerEnd, self._speaks, lambda *report: self.heard.append(report)
        )
        await run_test(processor, frames_to_send=[*frames, SleepFrame(0.05)])

    def _speaks(self) -> None:
        self.speaking += 1


def phrase(text: str, of_answer: bool = True) -> tuple[Frame, Frame, Frame]:
    """What passes before and after the audio of a phrase, with half a second of it."""
    end = TTSTextFrame(text, text_type="sentence")
    end.append_to_context = of_answer
    audio = TTSAudioRawFrame(bytes(OUTPUT_SAMPLE_RATE), OUTPUT_SAMPLE_RATE, 1)
    return AggregatedTextFrame(text, text_type="sentence"), audio, end


def started(of_answer: bool = True) -> TTSStartedFrame:
    return TTSStartedFrame(append_to_context=of_answer)


async def test_an_answer_is_reported_when_all_of_it_was_heard() -> None:
    session = Session()
    await session.plays(
        LLMFullResponseStartFrame(), started(), BotStartedSpeakingFrame(), *phrase("Yes."),
        *phrase("It is Paris."), SleepFrame(), BotStoppedSpeakingFrame(), TTSStoppedFrame(),
        AnswerEnd(),
    )  # fmt: skip
    assert session.heard == [("Yes. It is Paris.", False, False)]
    assert session.speaking


async def test_a_voice_that_pauses_in_the_middle_of_a_phrase_has_not_said_everything() -> None:
    session = Session()
    begins, audio, end = phrase("It is Paris, the capital of France.")
    await session.plays(
        LLMFullResponseStartFrame(), started(), BotStartedSpeakingFrame(), begins, audio,
        SleepFrame(), BotStoppedSpeakingFrame(), SleepFrame(), BotStartedSpeakingFrame(), audio,
        end, SleepFrame(), BotStoppedSpeakingFrame(), TTSStoppedFrame(), AnswerEnd(),
    )  # fmt: skip
    assert session.heard == [("It is Paris, the capital of France.", False, False)]


async def test_who_interrupts_in_a_pause_has_heard_what_was_said_before_it() -> None:
    session = Session()
    await session.plays(
        LLMFullResponseStartFrame(), started(), BotStartedSpeakingFrame(), *phrase("Yes."),
        SleepFrame(), BotStoppedSpeakingFrame(), SleepFrame(), InterruptionFrame(),
    )  # fmt: skip
    assert session.heard == [("Yes.", True, False)]


async def test_the_parts_of_an_answer_around_a_tool_are_reported_as_one() -> None:
    session = Session()
    part = LLMFullResponseStartFrame(), started()
    await session.plays(
        *part, BotStartedSpeakingFrame(), *phrase("Let me see."), SleepFrame(),
        BotStoppedSpeakingFrame(), TTSStoppedFrame(), *part, *phrase("It is noon."),
        TTSStoppedFrame(), AnswerEnd(),
    )  # fmt: skip
    assert session.heard == [("Let me see. It is noon.", False, False)]


async def test_a_greeting_is_reported_when_all_of_it_was_heard() -> None:
    session = Session()
    begins, audio, end = phrase("Hello, what can I do for you?")
    await session.plays(
        begins, started(), SleepFrame(), BotStartedSpeakingFrame(), audio, SleepFrame(),
        BotStoppedSpeakingFrame(), SleepFrame(), BotStartedSpeakingFrame(), audio, end,
        SleepFrame(), BotStoppedSpeakingFrame(), TTSStoppedFrame(),
    )  # fmt: skip
    assert session.heard == [("Hello, what can I do for you?", False, False)]


async def test_an_interruption_reports_what_was_heard_and_whether_the_bot_was_speaking() -> None:
    session = Session()
    begins, audio, _ = phrase("It is Paris, the capital of France.")
    await session.plays(
        started(), BotStartedSpeakingFrame(), begins, audio, SleepFrame(), InterruptionFrame(),
        SleepFrame(), InterruptionFrame(),
    )  # fmt: skip
    assert session.heard == [("It is", True, True), ("", True, False)]


async def test_an_apology_is_no_part_of_an_answer() -> None:
    session = Session()
    begins, audio, end = phrase("One moment, please.", of_answer=False)
    await session.plays(
        begins, started(of_answer=False), SleepFrame(), BotStartedSpeakingFrame(), audio, audio,
        end, SleepFrame(), BotStoppedSpeakingFrame(), TTSStoppedFrame(),
    )  # fmt: skip
    assert session.heard == []
    assert session.speaking == 0


async def test_an_apology_that_is_cut_off_is_no_part_of_an_answer_either() -> None:
    session = Session()
    begins, audio, _ = phrase("I am sorry, I cannot answer right now.", of_answer=False)
    await session.plays(
        begins, started(of_answer=False), SleepFrame(), BotStartedSpeakingFrame(), audio, audio,
        SleepFrame(), InterruptionFrame(),
    )  # fmt: skip
    assert session.heard == [("", True, True)]


async def test_an_answer_straight_after_an_apology_is_noticed() -> None:
    session = Session()
    begins, audio, end = phrase("One moment, please.", of_answer=False)
    await session.plays(
        begins, started(of_answer=False), SleepFrame(), BotStartedSpeakingFrame(), audio, end,
        SleepFrame(), started(), *phrase("Paris."), SleepFrame(),
    )  # fmt: skip
    assert session.speaking == 1
