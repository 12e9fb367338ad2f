"""Interruptions: whether a voice during the bot's turn stops the bot or not.

When the user makes a sound while the bot speaks or prepares its reply, the bot pauses at once. The
engine is asked privately for the words of the sound, and the decision follows:

- a listener's sound ("uh huh", "okay"), no words (a cough, music), or too short to be a question:
  the bot goes on, from the start of the phrase in which it paused;
- anything else, or no answer of the engine in time: a turn of the user starts, which interrupts
  the bot.

backchannel.py judges the words. `InterruptionState` decides, without I/O. `InterruptionGate` sits
between voice activity and Pipecat's user aggregator and carries the decisions out:

    voice       _____████████______________________      _____██████████████_______
    bot         ███████         █████████████████        ███████
    decision         pause      "uh huh": go on               pause  "what ...": turn starts

The end of the voice is passed on only after the decision, so that a turn always starts before it
ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    ControlFrame,
    Frame,
    InterruptionFrame,
    ProposedUserStartedSpeakingFrame,
    SystemFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from appliance.errors import EngineFailed
from appliance.gateway.backchannel import BotSpeech, is_interruption
from appliance.gateway.playout import Rewind
from appliance.gateway.voice_activity import SpeechPausedFrame
from appliance.link.client import EngineClient
from appliance.link.engine import Utterance
from appliance.tasks import cancel, spawn

# A voice of this length is judged before its first pause: most listener's sounds are shorter.
LONG_VOICE_SECONDS = 1.0
# The bot goes on at the latest after this long, if the voice had no words until then.
MAX_PAUSED_SECONDS = 3.0
# While the bot speaks over such a voice, the words are asked for this often.
OVERLAP_HEARING_SECONDS = 2.0
# An engine that is idle answers in 0.1 to 0.4 s. Without an answer, the voice is an interruption.
HEARING_SECONDS = 1.5


class VoicePhase(Enum):
    """What the user's voice counts as."""

    QUIET = "quiet"  # there is no voice
    TURN = "turn"  # a turn of the user
    UNDECIDED = "undecided"
    OVERLAP = "overlap"  # no interruption so far; the voice goes on while the bot speaks


class Action(Enum):
    """What the gate has to do, in this order."""

    PAUSE = "pause"  # pause the bot
    HEAR = "hear"  # ask the engine for the words so far
    RESUME = "resume"  # the bot goes on
    INTERRUPT = "interrupt"  # the paused bot does not go on: the turn that starts interrupts it
    START_TURN = "start_turn"  # start a turn of the user, which interrupts the bot
    RELEASE = "release"  # pass on the end of the voice


class InterruptionState:
    """Decides what the user's voice is. No I/O: times are in seconds of a monotonic clock.

    phase    what the voice counts as
    paused   whether the bot is paused
    request  number of the latest HEAR
    """

    def __init__(self) -> None:
        self.phase = VoicePhase.QUIET
        self.paused = False
        self.request = 0
        self._paused_at = 0.0
        self._voice_since = 0.0
        self._spoken_seconds = 0.0  # until the latest HEAR
        self._judged_at = 0.0  # start of the voice, or the latest answer about it
        self._hearing_since: float | None = None
        self._has_more = False  # more was said since the HEAR that is not answered yet
        self._end_withheld = False

    @property
    def deadline(self) -> float | None:
        """When to call `tick`, if nothing else happens before."""
        if self.phase not in (VoicePhase.UNDECIDED, VoicePhase.OVERLAP):
            return None
        resume_at = self._paused_at + MAX_PAUSED_SECONDS
        return min(self._hearing_deadline(), resume_at) if self.paused else self._hearing_deadline()

    def voice_started(self, now: float, busy: bool, seconds_ago: float = 0.0) -> list[Action]:
        """Note that a voice has started, that many seconds ago.

        `busy`: the bot speaks, or a reply is on its way.
        """
        if self._end_withheld:  # the same voice goes on before it was judged
            self._end_withheld = False
            return []
        if not busy:
            self.phase = VoicePhase.TURN
            return [Action.START_TURN]
        self.phase = VoicePhase.UNDECIDED
        self.paused, self._paused_at = True, now
        self._voice_since, self._judged_at = now - seconds_ago, now
        self._hearing_since = None
        return [Action.PAUSE]

    def voice_paused(self, now: float, seconds_ago: float = 0.0) -> list[Action]:
        """Note that the voice has paused, that many seconds ago, so that a word has ended."""
        self._spoken_seconds = now - seconds_ago - self._voice_since
        return self._hear(now) if self.phase in (VoicePhase.UNDECIDED, VoicePhase.OVERLAP) else []

    def voice_stopped(self, now: float) -> list[Action]:
        """Note that the voice has ended. The end is passed on with RELEASE."""
        if self._hearing_since is not None:
            self._end_withheld = True
            return []
        return [*self._go_on(), *self._end()]

    def heard(self, request: int, text: str | None, said: BotSpeech, now: float) -> list[Action]:
        """Note the words of the voice so far; None if the engine failed.

        `said`: what the bot has said, see `is_interruption`.
        """
        if request != self.request or self._hearing_since is None:
            return []  # it came too late
        self._hearing_since, self._judged_at = None, now
        if text is None or is_interruption(text, said, self._spoken_seconds):
            return self._interrupt()
        if self._has_more:
            return self._hear(now)
        return [*self._go_on(), *self._end()] if self._end_withheld else []

    def tick(self, now: float) -> list[Action]:
        """Do what is due at `deadline`."""
        if self.deadline is None or now < self.deadline:
            return []
        if now < self._hearing_deadline():
            return self._go_on()
        if self._hearing_since is not None:
            return self._interrupt()
        self._spoken_seconds = now - self._voice_since
        return self._hear(now)

    def interrupted_by_text(self) -> None:
        """Note that something else interrupted the bot, such as typed text: it is not paused."""
        self.paused = False

    def _hearing_deadline(self) -> float:
        if self._hearing_since is not None:
            return self._hearing_since + HEARING_SECONDS
        is_overlap = self.phase is VoicePhase.OVERLAP
        return self._judged_at + (OVERLAP_HEARING_SECONDS if is_overlap else LONG_VOICE_SECONDS)

    def _hear(self, now: float) -> list[Action]:
        self._has_more = self._hearing_since is not None
        if self._has_more:
            return []  # again after the answer
        self.request += 1
        self._hearing_since = now
        return [Action.HEAR]

    def _go_on(self) -> list[Action]:
        if self.phase is VoicePhase.UNDECIDED:
            self.phase = VoicePhase.OVERLAP
        was_paused, self.paused = self.paused, False
        return [Action.RESUME] if was_paused else []

    def _interrupt(self) -> list[Action]:
        was_paused, self.paused = self.paused, False
        self.phase, self._hearing_since = VoicePhase.TURN, None
        actions = [Action.INTERRUPT] if was_paused else []
        return [*actions, Action.START_TURN, *(self._end() if self._end_withheld else [])]

    def _end(self) -> list[Action]:
        self.phase, self._end_withheld = VoicePhase.QUIET, False
        return [Action.RELEASE]


@dataclass
class PauseBotFrame(SystemFrame):
    """The bot pauses: its client drops what it has not played, and nothing more is sent."""


@dataclass
class ResumeBotFrame(SystemFrame):
    """The bot goes on, from the start of the phrase in which it paused."""


@dataclass
class HearUtteranceFrame(SystemFrame):
    """Asks the LLM service for the words of the user's voice so far."""

    request: int = 0


@dataclass
class UtteranceHeardFrame(SystemFrame):
    """The answer to a HearUtteranceFrame, sent upstream. `text` is None if the engine failed."""

    request: int = 0
    text: str | None = None


@dataclass
class RewindFrame(ControlFrame):
    """The bot goes on after a pause; the audio that follows was sent before."""

    rewind: Rewind | None = None


@dataclass
class RepeatedPhraseFrame(ControlFrame):
    """The audio of the next phrase follows again. `text` as in PhraseStart."""

    text: str = ""


@dataclass
class RepeatedPhraseEndFrame(ControlFrame):
    """All audio of the repeated phrase was sent again."""


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

    @property
    def busy(self) -> bool:
        """Whether a voice may interrupt the bot."""
        return not self.user_turn and (self.speaking or self.replying)


@dataclass(frozen=True, slots=True)
class PauseHooks:
    """What the gate reports to its session, and asks of it.

    paused   the bot was paused
    decided  the pause has ended: "continued" or "interrupted"
    playing  whether the client still plays the bot's audio
    said     what the bot has said
    """

    paused: Callable[[], None]
    decided: Callable[[str], None]
    playing: Callable[[], bool]
    said: Callable[[], BotSpeech]


class InterruptionGate(FrameProcessor):
    """Starts the user's turns, and pauses the bot while it is not decided whether to start one."""

    def __init__(self, by_voice: bool, activity: BotActivity, hooks: PauseHooks) -> None:
        """`by_voice`: every voice interrupts the bot at once; nothing is paused."""
        super().__init__()
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
        await super().process_frame(frame, direction)
        state, now = self._state, time.monotonic()
        match frame:
            case VADUserStoppedSpeakingFrame():
                self._withheld = frame
                await self._run(state.voice_stopped(now))
                return
            case UtteranceHeardFrame():
                await self._run(state.heard(frame.request, frame.text, self._said, now))
                return
            case _DeadlineFrame():
                await self._run(state.tick(now))
                return
        self._follow_bot(frame)
        await self.push_frame(frame, direction)
        match frame:
            case VADUserStartedSpeakingFrame():
                busy = not self._by_voice and self._is_busy()
                await self._run(state.voice_started(now, busy, frame.start_secs))
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

    def _is_busy(self) -> bool:
        activity = self._activity
        return activity.busy or (not activity.user_turn and self._hooks.playing())

    async def _run(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Action.PAUSE:
                    self._said = self._hooks.said()
                    self._hooks.paused()
                    await self.push_frame(PauseBotFrame())
                case Action.HEAR:
                    await self.push_frame(HearUtteranceFrame(self._state.request))
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


class UtteranceHearing:
    """Asks the engine for the words of a voice that may be no turn.

    Nothing is shown, remembered or counted as a turn. `answer` takes the UtteranceHeardFrame.
    """

    def __init__(self, client: EngineClient, answer: Callable[[Frame], Awaitable[None]]) -> None:
        self._client = client
        self._answer = answer
        self._task: asyncio.Task[None] | None = None

    async def ask(self, request: int, utterance: Utterance | None) -> None:
        """Begin to answer a HearUtteranceFrame; it replaces the previous one."""
        await self.close()
        self._task = spawn(self._hear(request, utterance), "interruption hearing")

    async def close(self) -> None:
        """Stop asking."""
        if self._task is not None:
            await cancel(self._task)
            self._task = None

    async def _hear(self, request: int, utterance: Utterance | None) -> None:
        text: str | None = ""
        if utterance is not None:
            try:
                text = await self._client.transcribe(utterance.id)
            except EngineFailed:
                text = None  # the turn that starts now reports the failure
        await self._answer(UtteranceHeardFrame(request, text))
