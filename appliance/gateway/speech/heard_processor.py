"""`HeardProcessor`: reports to the session what the user has heard; heard.py computes it.

The processor is behind the output transport, where frames arrive in playback order. Each phrase
arrives as its text, then its audio as it is sent, then a text frame that marks its end.

A BotStoppedSpeakingFrame does not mean that the reply is complete. Pipecat also sends one after
three seconds without audio, and on an overloaded machine the next phrase can take longer.
"""

from __future__ import annotations

from collections.abc import Callable

from pipecat.frames.frames import (
    AggregatedTextFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InterruptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from appliance.gateway.frames import (
    ClientInterruptionFrame,
    ClientToolCallFrame,
    PhraseBrokenFrame,
    PhraseRestartedFrame,
    RepeatedPhraseEndFrame,
    RepeatedPhraseFrame,
    ReplyEndFrame,
    RewindFrame,
)
from appliance.gateway.speech.heard import HeardText


class HeardProcessor(FrameProcessor):
    """Reports to the session what the user hears.

    on_speaking()                              a part of an answer was sent (not of a notice)
    on_heard(text, interrupted, was_speaking)  an answer or a greeting was played to its end, or the
                                               bot was interrupted
    on_notice()                                a notice was played to its end
    on_client_tool(call)                       all speech before this call was sent
    on_client_stop(number)                     this stop of the client was reported by `on_heard`

    A notice is bot speech that is not part of the conversation, such as a hold message; its
    frames are marked by `append_to_context`. A ReplyEndFrame follows an answer and a greeting. The
    transport holds it back until everything before it was played.
    `unplayed_seconds` returns how much of the audio that has passed is not played yet.
    """

    def __init__(
        self,
        heard: HeardText,
        unplayed_seconds: Callable[[], float],
        on_speaking: Callable[[], None],
        on_heard: Callable[[str, bool, bool], None],
        on_notice: Callable[[], None] = lambda: None,
        on_client_tool: Callable[[ClientToolCallFrame], None] = lambda _call: None,
        on_client_stop: Callable[[int], None] = lambda _number: None,
    ) -> None:
        super().__init__(enable_direct_mode=True)
        self._heard = heard
        self._unplayed_seconds = unplayed_seconds
        self._on_speaking = on_speaking
        self._on_heard = on_heard
        self._on_notice = on_notice
        self._on_client_tool = on_client_tool
        self._on_client_stop = on_client_stop
        self._speaking = False
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
                    self._in_notice = False
                case TTSTextFrame():
                    self._heard.end_phrase()
                case AggregatedTextFrame():
                    self._heard.begin_phrase(frame.text)
                case PhraseBrokenFrame():
                    self._heard.break_phrase()
                case PhraseRestartedFrame():
                    self._heard.restart_phrase(frame.text)
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
                    self._heard.pause_reply()
                    self._on_client_tool(frame)
                case InterruptionFrame():
                    self._report(interrupted=True)
                    if isinstance(frame, ClientInterruptionFrame):
                        self._on_client_stop(frame.number)
                    self._speaking = self._in_notice = False
                case ReplyEndFrame():
                    self._report()
        await self.push_frame(frame, direction)

    def _report(self, interrupted: bool = False) -> None:
        unplayed_seconds = self._unplayed_seconds() if interrupted else 0.0
        self._on_heard(
            self._heard.take(unplayed_seconds), interrupted, interrupted and self._speaking
        )
