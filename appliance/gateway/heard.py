"""What of a reply the user has heard; the decision is pure, the processor a skin around it.

Behind the output transport frames pass in the order in which they are played, a fixed lead before
that: the text of a phrase before its audio, its audio as it is sent, a text frame when it is
complete.

That the bot stopped speaking does not mean that it has said everything: Pipecat says so whenever
nothing could be played for three seconds, and on a starved machine the next phrase takes longer.
"""

from __future__ import annotations

from collections.abc import Callable

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
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

CHARS_PER_SECOND = 15.0  # measured of Kokoro at speed 1 over English sentences: 13 to 17


class HeardText:
    """Adds up phrases that were played; of the one being played, the words there was time for.

    The voice has this `speed`; the last `lead_seconds` of what was sent have not been played yet.
    """

    def __init__(self, speed: float = 1.0, lead_seconds: float = 0.0) -> None:
        self._chars_per_second = CHARS_PER_SECOND * speed
        self._lead_seconds = lead_seconds
        self._complete: list[str] = []
        self._phrase = ""
        self._sent_seconds = 0.0

    def phrase_begins(self, text: str) -> None:
        """The audio of this phrase comes next."""
        self._phrase = text.strip()
        self._sent_seconds = 0.0

    def sent(self, seconds: float) -> None:
        """So much more of its audio was sent."""
        self._sent_seconds += seconds

    def phrase_ends(self) -> None:
        """All audio of the phrase was sent."""
        if self._phrase:
            self._complete.append(self._phrase)
        self._phrase = ""
        self._sent_seconds = 0.0

    def take(self) -> str:
        """Everything heard since the last call."""
        played_seconds = max(0.0, self._sent_seconds - self._lead_seconds)
        chars = int(played_seconds * self._chars_per_second)
        partial = self._phrase
        if chars < len(partial):
            partial = partial[:chars].rpartition(" ")[0]
        words = " ".join([*self._complete, partial]).strip()
        self._complete.clear()
        self._phrase = ""
        self._sent_seconds = 0.0
        return words


class HeardProcessor(FrameProcessor):
    """Reports to the session what reaches the user's ear.

    on_speaking()                              a part of an answer, no apology, was sent
    on_heard(text, interrupted, was_speaking)  an answer or a greeting was heard to its end, or the
                                               bot was cut off

    `answer_end` is the kind of frame that follows an answer.
    """

    def __init__(
        self,
        heard: HeardText,
        answer_end: type[Frame],
        on_speaking: Callable[[], None],
        on_heard: Callable[[str, bool, bool], None],
    ) -> None:
        super().__init__()
        self._heard = heard
        self._answer_end = answer_end
        self._on_speaking = on_speaking
        self._on_heard = on_heard
        self._speaking = False
        self._answering = False  # an answer is under way, whether it is just being spoken or not
        self._apologizing = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Follows the frames that were played; passes all but their audio on."""
        await super().process_frame(frame, direction)
        if direction == FrameDirection.DOWNSTREAM:
            match frame:
                case TTSStartedFrame():
                    self._apologizing = not frame.append_to_context
                    if self._apologizing:
                        self._heard.phrase_begins("")  # an apology is no part of the answer
                case TTSStoppedFrame():
                    if not (self._answering or self._apologizing):
                        self._report()  # a greeting
                    self._apologizing = False
                case LLMFullResponseStartFrame():
                    self._answering = True
                case TTSTextFrame():
                    self._heard.phrase_ends()
                case AggregatedTextFrame():
                    self._heard.phrase_begins(frame.text)
                case TTSAudioRawFrame():
                    self._heard.sent(len(frame.audio) / 2 / frame.sample_rate)
                    if not self._apologizing:  # straight after one the bot never fell silent
                        self._on_speaking()
                    return  # Nobody after this needs it, and each hop costs every caller.
                case BotStartedSpeakingFrame():
                    self._speaking = True
                    if not self._apologizing:
                        self._on_speaking()
                case BotStoppedSpeakingFrame():
                    self._speaking = False
                case InterruptionFrame():
                    self._report(cut_off=True)
                    self._speaking = self._apologizing = False
                case _ if isinstance(frame, self._answer_end):
                    self._report()
        await self.push_frame(frame, direction)

    def _report(self, cut_off: bool = False) -> None:
        self._answering = False
        self._on_heard(self._heard.take(), cut_off, cut_off and self._speaking)
