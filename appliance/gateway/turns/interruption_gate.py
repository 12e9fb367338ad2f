"""Interruptions in the pipeline: the processor that pauses the bot.

`InterruptionGate` sits between voice activity and Pipecat's user aggregator. interruption.py
decides. The transport pauses the bot and lets it go on; the LLM service asks the engine for the
words.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    ProposedUserStartedSpeakingFrame,
    SystemFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from appliance.gateway.direct_audio import pass_audio
from appliance.gateway.frames import (
    PauseBotFrame,
    ResumeBotFrame,
    SpeechPausedFrame,
    TranscribeUtteranceFrame,
    UtteranceTranscriptFrame,
)
from appliance.gateway.turns.backchannel import BotSpeech
from appliance.gateway.turns.interruption import Action, InterruptionState
from appliance.tasks import spawn


@dataclass
class _DeadlineFrame(SystemFrame):
    """Makes the gate call `tick`, in order with the other frames."""


@dataclass(slots=True)
class BotActivity:
    """What the bot does, as far as an interruption is concerned.

    speaking    between Pipecat's start and stop of speech
    replying    a turn of the user was submitted, and its reply was not played to the end yet
    user_turn   the user has the turn, so the bot has been interrupted
    """

    speaking: bool = False
    replying: bool = False
    user_turn: bool = False

    def is_busy(self, playing: bool) -> bool:
        """Whether a voice may interrupt the bot. `playing`: the client plays the bot's audio."""
        return not self.user_turn and (self.speaking or self.replying or playing)


@dataclass(frozen=True, slots=True)
class PauseHooks:
    """What the gate reports to its session, and asks of it.

    paused   the bot was paused
    decided  the pause has ended: "continued" or "interrupted"
    playing  whether the client still plays the bot's audio
    said     what the bot has said
    is_own   whether words are the bot's own, out of a loudspeaker
    """

    paused: Callable[[], None]
    decided: Callable[[str], None]
    playing: Callable[[], bool]
    said: Callable[[], BotSpeech]
    is_own: Callable[[str], bool]


class InterruptionGate(FrameProcessor):
    """Starts the user's turns, and pauses the bot while it is not decided whether to start one."""

    def __init__(self, by_voice: bool, activity: BotActivity, hooks: PauseHooks) -> None:
        """`by_voice`: every voice interrupts the bot at once; nothing is paused."""
        super().__init__(enable_direct_mode=True)
        self._by_voice = by_voice
        self._activity = activity
        self._hooks = hooks
        self._state = InterruptionState()
        self._said = BotSpeech.NOTHING  # at the latest pause
        self._withheld: VADUserStoppedSpeakingFrame | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def cleanup(self) -> None:
        """Stop the timer."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        if self._timer is not None:
            self._timer.cancel()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Follow the user's voice and the bot, and pass all other frames on."""
        if isinstance(frame, InputAudioRawFrame):
            await pass_audio(self, frame)
            return
        await super().process_frame(frame, direction)
        state, now = self._state, time.monotonic()
        match frame:
            case VADUserStoppedSpeakingFrame():
                self._withheld = frame
                await self._run(state.voice_stopped(now))
                return
            case UtteranceTranscriptFrame():
                own = frame.text is not None and self._hooks.is_own(frame.text)
                text = "" if own else frame.text  # as if nobody had spoken
                await self._run(state.transcribed(frame.request, text, self._said, now))
                return
            case _DeadlineFrame():
                await self._run(state.tick(now))
                return
        self._follow_bot(frame)
        await self.push_frame(frame, direction)
        match frame:
            case VADUserStartedSpeakingFrame():
                busy = not self._by_voice and self._activity.is_busy(self._hooks.playing())
                unheard = self._hooks.said() is BotSpeech.NOTHING
                await self._run(state.voice_started(now, busy, frame.start_secs, unheard))
            case SpeechPausedFrame():
                await self._run(state.voice_paused(now, frame.silence_seconds))

    def _follow_bot(self, frame: Frame) -> None:
        match frame:
            case BotStartedSpeakingFrame():
                self._activity.speaking = True
            case BotStoppedSpeakingFrame():
                self._activity.speaking = False
            case UserStartedSpeakingFrame():
                self._activity.user_turn = True
            case UserStoppedSpeakingFrame():
                self._activity.user_turn = False
            case InterruptionFrame() if self._state.paused:
                self._state.interrupted_by_text()
                self._hooks.decided("interrupted")

    async def _run(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Action.PAUSE:
                    self._said = self._hooks.said()
                    self._hooks.paused()
                    await self.push_frame(PauseBotFrame())
                case Action.TRANSCRIBE:
                    await self.push_frame(TranscribeUtteranceFrame(self._state.request))
                case Action.RESUME:
                    self._hooks.decided("continued")
                    await self.push_frame(ResumeBotFrame())
                case Action.INTERRUPT:
                    self._hooks.decided("interrupted")
                case Action.START_TURN:
                    # Pipecat's user aggregator starts the turn and interrupts the bot.
                    await self.push_frame(ProposedUserStartedSpeakingFrame())
                case Action.RELEASE if self._withheld is not None:
                    frame, self._withheld = self._withheld, None
                    await self.push_frame(frame)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (deadline := self._state.deadline) is not None:
            delay = max(0.0, deadline - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._deadline_reached)

    def _deadline_reached(self) -> None:
        spawn(self.queue_frame(_DeadlineFrame()), "interruption deadline")
