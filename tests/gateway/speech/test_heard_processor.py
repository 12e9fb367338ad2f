"""What the heard processor reports to its session, from the frames behind the output transport."""

from __future__ import annotations

from pipecat.frames.frames import (
    AggregatedTextFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.tests.utils import SleepFrame, run_test

from appliance.gateway.frames import ReplyEndFrame
from appliance.gateway.speech.heard import HeardText
from appliance.gateway.speech.heard_processor import HeardProcessor
from appliance.link.engine import OUTPUT_SAMPLE_RATE


class RecordingSession:
    """Records the reports of the processor."""

    def __init__(self) -> None:
        self.speaking = 0
        self.unplayed_seconds = 0.0
        self.heard: list[tuple[str, bool, bool]] = []

    async def play(self, *frames: Frame) -> None:
        processor = HeardProcessor(
            HeardText(),
            lambda: self.unplayed_seconds,
            self._on_speaking,
            lambda *report: self.heard.append(report),
        )
        await run_test(processor, frames_to_send=[*frames, SleepFrame(0.05)])

    def _on_speaking(self) -> None:
        self.speaking += 1


def phrase(text: str, is_notice: bool = False) -> tuple[Frame, Frame, Frame]:
    """Return the frames of a phrase: its text, half a second of audio, and its end."""
    end = TTSTextFrame(text, text_type="sentence")
    end.append_to_context = not is_notice
    audio = TTSAudioRawFrame(bytes(OUTPUT_SAMPLE_RATE), OUTPUT_SAMPLE_RATE, 1)
    return AggregatedTextFrame(text, text_type="sentence"), audio, end


def started(is_notice: bool = False) -> TTSStartedFrame:
    return TTSStartedFrame(append_to_context=not is_notice)


async def test_answer_is_reported_after_all_of_it_was_heard() -> None:
    session = RecordingSession()
    await session.play(
        LLMFullResponseStartFrame(), started(), BotStartedSpeakingFrame(), *phrase("Yes."),
        *phrase("It is Paris."), SleepFrame(), BotStoppedSpeakingFrame(), TTSStoppedFrame(),
        ReplyEndFrame(),
    )  # fmt: skip
    assert session.heard == [("Yes. It is Paris.", False, False)]
    assert session.speaking


async def test_pause_within_a_phrase_does_not_end_the_answer() -> None:
    session = RecordingSession()
    start, audio, end = phrase("It is Paris, the capital of France.")
    await session.play(
        LLMFullResponseStartFrame(), started(), BotStartedSpeakingFrame(), start, audio,
        SleepFrame(), BotStoppedSpeakingFrame(), SleepFrame(), BotStartedSpeakingFrame(), audio,
        end, SleepFrame(), BotStoppedSpeakingFrame(), TTSStoppedFrame(), ReplyEndFrame(),
    )  # fmt: skip
    assert session.heard == [("It is Paris, the capital of France.", False, False)]


async def test_interruption_in_a_pause_reports_the_phrases_before_it() -> None:
    session = RecordingSession()
    await session.play(
        LLMFullResponseStartFrame(), started(), BotStartedSpeakingFrame(), *phrase("Yes."),
        SleepFrame(), BotStoppedSpeakingFrame(), SleepFrame(), InterruptionFrame(),
    )  # fmt: skip
    assert session.heard == [("Yes.", True, False)]


async def test_parts_of_an_answer_around_a_tool_call_are_reported_as_one() -> None:
    session = RecordingSession()
    part = LLMFullResponseStartFrame(), started()
    await session.play(
        *part, BotStartedSpeakingFrame(), *phrase("Let me see."), SleepFrame(),
        BotStoppedSpeakingFrame(), TTSStoppedFrame(), *part, *phrase("It is noon."),
        TTSStoppedFrame(), ReplyEndFrame(),
    )  # fmt: skip
    assert session.heard == [("Let me see. It is noon.", False, False)]


async def test_greeting_is_reported_after_all_of_it_was_heard() -> None:
    session = RecordingSession()
    start, audio, end = phrase("Hello, what can I do for you?")
    await session.play(
        start, started(), SleepFrame(), BotStartedSpeakingFrame(), audio, SleepFrame(),
        BotStoppedSpeakingFrame(), SleepFrame(), BotStartedSpeakingFrame(), audio, end,
        SleepFrame(), BotStoppedSpeakingFrame(), TTSStoppedFrame(), ReplyEndFrame(),
    )  # fmt: skip
    assert session.heard == [("Hello, what can I do for you?", False, False)]


async def test_interruption_reports_heard_text_and_whether_the_bot_was_speaking() -> None:
    session = RecordingSession()
    start, audio, _ = phrase("It is Paris, the capital of France.")
    await session.play(
        started(), BotStartedSpeakingFrame(), start, audio, SleepFrame(), InterruptionFrame(),
        SleepFrame(), InterruptionFrame(),
    )  # fmt: skip
    assert session.heard == [("It is", True, True), ("", True, False)]


async def test_interruption_reports_what_was_played_by_then() -> None:
    session = RecordingSession()
    session.unplayed_seconds = 0.3
    await session.play(
        LLMFullResponseStartFrame(), started(), BotStartedSpeakingFrame(),
        *phrase("It is Paris."), SleepFrame(), InterruptionFrame(),
    )  # fmt: skip
    assert session.heard == [("It is", True, True)]


async def test_end_of_an_answer_reports_all_of_it() -> None:
    """The transport holds it back until all audio was played."""
    session = RecordingSession()
    session.unplayed_seconds = 0.01
    await session.play(
        LLMFullResponseStartFrame(), started(), *phrase("It is Paris."), ReplyEndFrame()
    )
    assert session.heard == [("It is Paris.", False, False)]


async def test_notice_is_not_part_of_an_answer() -> None:
    session = RecordingSession()
    start, audio, end = phrase("One moment, please.", is_notice=True)
    await session.play(
        start, started(is_notice=True), SleepFrame(), BotStartedSpeakingFrame(), audio, audio,
        end, SleepFrame(), BotStoppedSpeakingFrame(), TTSStoppedFrame(),
    )  # fmt: skip
    assert session.heard == []
    assert session.speaking == 0


async def test_interrupted_notice_is_not_part_of_an_answer() -> None:
    session = RecordingSession()
    start, audio, _ = phrase("I am sorry, I cannot answer right now.", is_notice=True)
    await session.play(
        start, started(is_notice=True), SleepFrame(), BotStartedSpeakingFrame(), audio, audio,
        SleepFrame(), InterruptionFrame(),
    )  # fmt: skip
    assert session.heard == [("", True, True)]


async def test_answer_directly_after_a_notice_counts_as_speaking() -> None:
    session = RecordingSession()
    start, audio, end = phrase("One moment, please.", is_notice=True)
    await session.play(
        start, started(is_notice=True), SleepFrame(), BotStartedSpeakingFrame(), audio, end,
        SleepFrame(), started(), *phrase("Paris."), SleepFrame(),
    )  # fmt: skip
    assert session.speaking == 1
