"""Voice activity: where the user's speech starts, pauses, resumes and stops.

`VoiceActivityProcessor` runs the detector on the microphone's audio and pushes its events as
frames, in order with the audio. Pipecat has frames for a start (after `turn.vad_start_seconds` of
speech, or `turn.vad_interrupt_seconds` while the bot is busy) and a stop (after
`turn.vad_stop_seconds` of silence). This module adds four: a pause after `turn.pause_seconds` of
silence, and its end; the beginning of voice that may become speech, and its end if it was too
short.

    speech      ______█████████████_____________________
    events           began started paused  stopped
    speech      ______█████████████____██████████_______
    events           began started paused resumed   paused  stopped
    a click     ______█_________________________________
    events           began faded

Silence is a clock, not frames: while the user speaks or a turn is open, a microphone that stops
sending is a silent one. `MissingAudio` computes the silence that replaces the missing audio. Only
the detector and the end of the turn get it, not the engines. A delay of this process is not
silence: the audio is then still in the socket.
"""

from __future__ import annotations

import asyncio
import time
from enum import Enum
from typing import Protocol

from pipecat.audio.vad.vad_analyzer import VADState
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    UserMuteStartedFrame,
    UserMuteStoppedFrame,
    UserSpeakingFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from appliance.gateway.direct_audio import ACTIVITY_SECONDS, pass_audio
from appliance.gateway.frames import (
    MissingAudioFrame,
    SpeechPausedFrame,
    SpeechResumedFrame,
    VoiceBeganFrame,
    VoiceFadedFrame,
)
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import TurnConfig
from appliance.tasks import spawn

ALLOWED_GAP_SECONDS = 0.25  # without audio; a shorter gap is jitter of the network
SUPPLY_SECONDS = 0.1  # between two pieces of silence


class SpeechEvent(Enum):
    """An event of the user's speech."""

    VOICE_BEGAN = "voice_began"
    VOICE_FADED = "voice_faded"
    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"


class SpeechEvents:
    """Derives events from the detector's state. No I/O."""

    def __init__(self, pause_seconds: float) -> None:
        self._pause_seconds = pause_seconds
        self.speaking = False  # between STARTED and STOPPED
        self._paused = False
        self._voice = False

    def update(self, state: VADState, silence_seconds: float) -> list[SpeechEvent]:
        """Return the events since the last call.

        `silence_seconds` is the length of the silence that follows the latest speech.
        """
        events = self._faded(state)
        if state in (VADState.SPEAKING, VADState.STOPPING) and not self.speaking:
            self.speaking = True
            events.append(SpeechEvent.STARTED)
        if not self.speaking:
            return [*events, *self._beginning(state)]
        if self._paused and state == VADState.SPEAKING:
            self._paused = False
            events.append(SpeechEvent.RESUMED)
        stopped = state in (VADState.QUIET, VADState.STARTING)
        silent = state == VADState.STOPPING and silence_seconds >= self._pause_seconds
        if not self._paused and (silent or stopped):
            self._paused = True
            events.append(SpeechEvent.PAUSED)
        if stopped:
            self.speaking = self._paused = False
            events.append(SpeechEvent.STOPPED)
        return [*events, *self._beginning(state)]

    def _beginning(self, state: VADState) -> list[SpeechEvent]:
        """Return the beginning of voice that may become speech."""
        if self._voice or state != VADState.STARTING:
            return []
        self._voice = True
        return [SpeechEvent.VOICE_BEGAN]

    def _faded(self, state: VADState) -> list[SpeechEvent]:
        """Return the end of voice that had begun, if it was too short for speech."""
        if not self._voice or state == VADState.STARTING:
            return []
        self._voice = False
        return [SpeechEvent.VOICE_FADED] if state == VADState.QUIET else []


class MissingAudio:
    """Computes the silence that replaces audio which does not arrive. No I/O.

    Times are in seconds of a monotonic clock. The silence is counted from the last audio: the first
    piece fills all of the gap so far. Audio that arrives late is not withheld.
    """

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._arrived_at: float | None = None
        self._supplied_seconds = 0.0

    def audio_arrived(self, now: float) -> None:
        """Note that audio arrived at `now`."""
        self._arrived_at = now
        self._supplied_seconds = 0.0

    def process_was_late(self, seconds: float) -> None:
        """Note that this process was not running for `seconds`; its audio has yet to be read."""
        if self._arrived_at is not None and not self._supplied_seconds:
            self._arrived_at += seconds

    def due(self, now: float) -> float:
        """Return the seconds of silence to supply at `now`; 0 if none are missing.

        A gap gets at most `limit_seconds`.
        """
        if self._arrived_at is None or now - self._arrived_at < ALLOWED_GAP_SECONDS:
            return 0.0
        gap_seconds = min(now - self._arrived_at, self._limit_seconds)
        due = gap_seconds - self._supplied_seconds
        self._supplied_seconds = max(self._supplied_seconds, gap_seconds)
        return max(0.0, due)


class VoiceActivityDetector(Protocol):
    """What the processor needs of a detector; `turn_models.TurnModels` creates one."""

    @property
    def silence_seconds(self) -> float:
        """Length of the silence since the latest speech, while the state is STOPPING."""

    @property
    def started_seconds_ago(self) -> float:
        """Length of the latest speech when it was detected."""

    def set_sample_rate(self, sample_rate: int) -> None:
        """Set the sample rate, in Hz."""

    async def analyze_audio(self, buffer: bytes, may_wait: bool = False) -> VADState:
        """Analyze the next audio of any length. Return the state at its end.

        `may_wait`: voice that is too soft for speech may be noticed later.
        """

    async def cleanup(self) -> None:
        """Free the detector."""


class VoiceActivityProcessor(FrameProcessor):
    """Pushes the events of the user's speech. While the user is muted, audio is not analyzed."""

    def __init__(
        self,
        config: TurnConfig,
        detector: VoiceActivityDetector,
        activity_seconds: float = ACTIVITY_SECONDS,
    ) -> None:
        """`activity_seconds`: between two UserSpeakingFrames; see direct_audio.py."""
        super().__init__(enable_direct_mode=True)
        self._config = config
        self._detector = detector
        self._activity_seconds = activity_seconds
        self._events = SpeechEvents(config.pause_seconds)
        detector.set_sample_rate(INPUT_SAMPLE_RATE)
        self._muted = False
        self._turn_open = False
        self._spoken = False  # since the last turn has ended
        self._missing = MissingAudio(config.stop_timeout_seconds)
        self._watching: asyncio.Task[None] | None = None  # runs while audio must not be missing
        self._spoken_seconds = 0.0  # since the last UserSpeakingFrame

    async def cleanup(self) -> None:
        """Free the detector."""
        if self._watching is not None:
            self._watching.cancel()
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._detector.cleanup()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass every frame on; then push the events that its audio caused."""
        if isinstance(frame, InputAudioRawFrame):
            self._missing.audio_arrived(time.monotonic())
            await pass_audio(self, frame)
            await self._analyze(frame.audio)
            return
        await super().process_frame(frame, direction)
        match frame:
            case UserMuteStartedFrame():
                self._muted = True
            case UserMuteStoppedFrame():
                self._muted = False
            case UserStartedSpeakingFrame():
                self._turn_open = True
            case UserStoppedSpeakingFrame():
                self._turn_open = self._spoken = False
        await self.push_frame(frame, direction)
        if isinstance(frame, MissingAudioFrame):
            await self._analyze(bytes(2 * round(frame.seconds * INPUT_SAMPLE_RATE)))

    async def _analyze(self, pcm: bytes) -> None:
        if self._muted:
            return
        # While the end of a turn is not decided, soft voice counts, too.
        may_wait = not (self._spoken or self._turn_open)
        state = await self._detector.analyze_audio(pcm, may_wait)
        for event in self._events.update(state, self._detector.silence_seconds):
            await self._push_event(event)
        if self._events.speaking:
            self._spoken = True
            self._watch()
            self._spoken_seconds += len(pcm) / 2 / INPUT_SAMPLE_RATE
            if self._spoken_seconds >= self._activity_seconds:
                self._spoken_seconds = 0.0
                await self.push_frame(UserSpeakingFrame())

    def _watch(self) -> None:
        """Supply missing audio until the user is silent and the turn has ended."""
        if self._watching is None or self._watching.done():
            self._watching = spawn(self._supply(), "missing audio")

    async def _supply(self) -> None:
        while self._events.speaking or self._turn_open:
            wake_at = time.monotonic() + SUPPLY_SECONDS
            await asyncio.sleep(SUPPLY_SECONDS)
            now = time.monotonic()
            self._missing.process_was_late(max(0.0, now - wake_at))
            seconds = self._missing.due(now)
            if seconds and not self._muted:
                # through the queue, in order with the audio
                await self.queue_frame(MissingAudioFrame(seconds))

    async def _push_event(self, event: SpeechEvent) -> None:
        match event:
            case SpeechEvent.VOICE_BEGAN:
                await self.push_frame(VoiceBeganFrame())
            case SpeechEvent.VOICE_FADED:
                await self.push_frame(VoiceFadedFrame())
            case SpeechEvent.STARTED:
                start_seconds = self._detector.started_seconds_ago
                await self.push_frame(VADUserStartedSpeakingFrame(start_secs=start_seconds))
            case SpeechEvent.PAUSED:
                silence_seconds = self._detector.silence_seconds or self._config.vad_stop_seconds
                await self.push_frame(SpeechPausedFrame(silence_seconds))
            case SpeechEvent.RESUMED:
                await self.push_frame(SpeechResumedFrame())
            case SpeechEvent.STOPPED:
                stop_seconds = self._config.vad_stop_seconds
                await self.push_frame(VADUserStoppedSpeakingFrame(stop_secs=stop_seconds))
