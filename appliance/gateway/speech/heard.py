"""Estimates how much of a reply the user has heard.

`HeardText` is the estimate, without I/O. `HeardProcessor` feeds it with Pipecat's frames. After the
output transport, frames arrive in playback order, a fixed lead before their playback. Each phrase
arrives as its text, then its audio as it is sent, then a text frame that marks its end.

A BotStoppedSpeakingFrame does not mean that the reply is complete. Pipecat also sends one after
three seconds without audio, and on an overloaded machine the next phrase can take longer.

After a pause of the bot (interruption_gate.py), phrases are sent again. They count once.

Of an unfinished phrase, those words count whose end was played. Where a word ends is computed from
the spoken lengths of the words (spoken_length.py), and from the length of the phrase's audio, once
it is known. A serial number therefore counts only when all of it was spoken.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
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

from appliance.gateway.generation.client_frames import (
    ClientInterruptionFrame,
    ClientToolCallFrame,
)
from appliance.gateway.speech.spoken_length import spoken_lengths
from appliance.gateway.turns.backchannel import BotSpeech
from appliance.gateway.turns.interruption_gate import (
    RepeatedPhraseEndFrame,
    RepeatedPhraseFrame,
    RewindFrame,
)
from appliance.gateway.turns.playout import Rewind

# Spoken length per second, in letters of prose (spoken_length.py). Measured for Kokoro at speed 1
# on 24 phrases: 16 to 26, on average 20. Lower, so that no word counts that was not heard.
CHARS_PER_SECOND = 17.0
MAX_MEASURED_PHRASES = 32  # synthesized ahead of playback, or played again


class HeardText:
    """Collects the phrases that were played. An unfinished phrase counts up to its words played.

    `speed` is that of the voice. The last `lead_seconds` of the audio sent are not played yet.
    """

    def __init__(self, speed: float = 1.0, lead_seconds: float = 0.0) -> None:
        self._chars_per_second = CHARS_PER_SECOND * speed
        self._lead_seconds = lead_seconds
        self._complete: list[str] = []
        self._phrase = ""
        self._sent_seconds = 0.0  # of the current phrase
        self._recount = False  # whether repeated phrases count, because they were not taken yet
        self._taken = ""  # the text of the last `take`
        self._measured_seconds: OrderedDict[str, float] = OrderedDict()  # by phrase

    def measure(self, text: str, seconds: float) -> None:
        """Note the length of a phrase's audio, once all of it is synthesized."""
        self._measured_seconds[text.strip()] = seconds
        self._measured_seconds.move_to_end(text.strip())
        while len(self._measured_seconds) > MAX_MEASURED_PHRASES:
            self._measured_seconds.popitem(last=False)

    def begin_phrase(self, text: str) -> None:
        """Begin a phrase; the audio that follows belongs to it."""
        self._phrase = text.strip()
        self._sent_seconds = 0.0

    def add_audio(self, seconds: float) -> None:
        """Add audio of the current phrase that was sent."""
        self._sent_seconds += seconds

    def end_phrase(self) -> None:
        """Complete the current phrase: all of its audio was sent."""
        if self._phrase:
            self._complete.append(self._phrase)
        self.begin_phrase("")

    def rewind(self, rewind: Rewind) -> None:
        """Go back to where the bot goes on after a pause. Text already taken is not counted again.

        The audio that follows belongs to the first of the phrases.
        """
        first, found = "", False
        for text in reversed(rewind.phrases):
            if text and text == self._phrase:
                self._phrase, first, found = "", text, True
            elif text and self._complete and self._complete[-1] == text:
                first, found = self._complete.pop(), True
            else:
                first = ""
        self._recount = found
        self.begin_phrase(first)
        self._sent_seconds = rewind.played_seconds

    def repeat_phrase(self, text: str) -> None:
        """Begin a phrase again whose audio was sent before the last `rewind`."""
        self.begin_phrase(text if self._recount else "")

    @property
    def said(self) -> BotSpeech:
        """What the user has heard: a question counts from its start until the next phrase ends."""
        before = self._complete[-1] if self._complete else self._taken
        if self._phrase.endswith("?") or before.endswith("?"):
            return BotSpeech.QUESTION
        if self._complete or self._partial():
            return BotSpeech.STATEMENT
        return BotSpeech.NOTHING

    @property
    def latest(self) -> str:
        """The latest text of the bot, with all of the phrase that it speaks."""
        return " ".join([self._taken, *self._complete, self._phrase])

    def take(self) -> str:
        """Return the text heard since the last call."""
        text = " ".join([*self._complete, self._partial()]).strip()
        self._taken = text
        self._complete.clear()
        self.begin_phrase("")
        return text

    def _partial(self) -> str:
        """Return the part of the current phrase that was played."""
        played_seconds = max(0.0, self._sent_seconds - self._lead_seconds)
        words, lengths = self._phrase.split(), spoken_lengths(self._phrase)
        ends = [end + i for i, end in enumerate(itertools.accumulate(lengths))]  # with a space each
        seconds = self._measured_seconds.get(self._phrase, 0.0)
        rate = ends[-1] / seconds if seconds and ends else self._chars_per_second
        heard = sum(end <= played_seconds * rate for end in ends)
        return self._phrase if heard == len(words) else " ".join(words[:heard])


class HeardProcessor(FrameProcessor):
    """Reports to the session what the user hears.

    on_speaking()                              a part of an answer was sent (not of a notice)
    on_heard(text, interrupted, was_speaking)  an answer or a greeting was played to its end, or the
                                               bot was interrupted
    on_notice()                                a notice was played to its end
    on_client_tool(call)                       all speech before this call was sent
    on_client_stop(number)                     this stop of the client was reported by `on_heard`

    A notice is bot speech that is not part of the conversation, such as a hold message; its
    frames are marked by `append_to_context`. A frame of the kind `answer_end` follows an answer.
    """

    def __init__(
        self,
        heard: HeardText,
        answer_end: type[Frame],
        on_speaking: Callable[[], None],
        on_heard: Callable[[str, bool, bool], None],
        on_notice: Callable[[], None] = lambda: None,
        on_client_tool: Callable[[ClientToolCallFrame], None] = lambda _call: None,
        on_client_stop: Callable[[int], None] = lambda _number: None,
    ) -> None:
        super().__init__(enable_direct_mode=True)
        self._heard = heard
        self._answer_end = answer_end
        self._on_speaking = on_speaking
        self._on_heard = on_heard
        self._on_notice = on_notice
        self._on_client_tool = on_client_tool
        self._on_client_stop = on_client_stop
        self._speaking = False
        self._in_answer = False  # between start and end of an answer, pauses included
        self._in_notice = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Follow the frames that are played; pass on all but audio."""
        if isinstance(frame, TTSAudioRawFrame):  # no later processor needs it
            self._heard.add_audio(len(frame.audio) / 2 / frame.sample_rate)
            if not self._in_notice:  # Pipecat sends no BotStarted frame after a notice
                self._on_speaking()
            return
        await super().process_frame(frame, direction)
        if direction == FrameDirection.DOWNSTREAM:
            match frame:
                case TTSStartedFrame():
                    self._in_notice = not frame.append_to_context
                    if self._in_notice:
                        self._heard.begin_phrase("")
                case TTSStoppedFrame():
                    if self._in_notice:
                        self._on_notice()
                    elif not self._in_answer:
                        self._report()  # a greeting
                    self._in_notice = False
                case LLMFullResponseStartFrame():
                    self._in_answer = True
                case TTSTextFrame():
                    self._heard.end_phrase()
                case AggregatedTextFrame():
                    self._heard.begin_phrase(frame.text)
                case RewindFrame() if frame.rewind is not None:
                    self._heard.rewind(frame.rewind)
                case RepeatedPhraseFrame():
                    self._heard.repeat_phrase(frame.text)
                case RepeatedPhraseEndFrame():
                    self._heard.end_phrase()
                case BotStartedSpeakingFrame():
                    self._speaking = True
                    if not self._in_notice:
                        self._on_speaking()
                case BotStoppedSpeakingFrame():
                    self._speaking = False
                case ClientToolCallFrame():
                    self._on_client_tool(frame)
                case InterruptionFrame():
                    self._report(interrupted=True)
                    if isinstance(frame, ClientInterruptionFrame):
                        self._on_client_stop(frame.number)
                    self._speaking = self._in_notice = False
                case _ if isinstance(frame, self._answer_end):
                    self._report()
        await self.push_frame(frame, direction)

    def _report(self, interrupted: bool = False) -> None:
        self._in_answer = False
        self._on_heard(self._heard.take(), interrupted, interrupted and self._speaking)
