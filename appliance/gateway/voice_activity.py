"""Voice activity: where the user's speech starts, pauses, resumes and stops.

`VoiceActivityProcessor` runs the detector on the microphone's audio and pushes its events as
frames, in order with the audio. Pipecat has frames for a start (after `turn.vad_start_seconds` of
speech) and a stop (after `turn.vad_stop_seconds` of silence). This module adds two that come
earlier: a pause after `turn.pause_seconds` of silence, and its end.

    speech      ______█████████████_____________________
    events            started      paused  stopped
    speech      ______█████████████____██████████_______
    events            started      paused resumed   paused  stopped
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from pipecat.audio.vad.vad_analyzer import VADState
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    SystemFrame,
    UserMuteStartedFrame,
    UserMuteStoppedFrame,
    UserSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import TurnConfig

ACTIVITY_SECONDS = 0.2  # between two UserSpeakingFrames, which keep the session from being idle


@dataclass
class SpeechPausedFrame(SystemFrame):
    """The user's speech has paused for `silence_seconds`; the turn may continue."""

    silence_seconds: float = 0.0


@dataclass
class SpeechResumedFrame(SystemFrame):
    """The user speaks again after a pause that was too short for a VADUserStoppedSpeakingFrame."""


class SpeechEvent(Enum):
    """An event of the user's speech."""

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

    def update(self, state: VADState, silence_seconds: float) -> list[SpeechEvent]:
        """Return the events since the last call.

        `silence_seconds` is the length of the silence that follows the latest speech.
        """
        events: list[SpeechEvent] = []
        if state in (VADState.SPEAKING, VADState.STOPPING) and not self.speaking:
            self.speaking = True
            events.append(SpeechEvent.STARTED)
        if not self.speaking:
            return events
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
        return events


class VoiceActivityDetector(Protocol):
    """What the processor needs of a detector; `turn_taking.TurnModels` creates one."""

    @property
    def silence_seconds(self) -> float:
        """Length of the silence since the latest speech, while the state is STOPPING."""

    def set_sample_rate(self, sample_rate: int) -> None:
        """Set the sample rate, in Hz."""

    async def analyze_audio(self, buffer: bytes) -> VADState:
        """Analyze the next audio of any length. Return the state at its end."""

    async def cleanup(self) -> None:
        """Free the detector."""


class VoiceActivityProcessor(FrameProcessor):
    """Pushes the events of the user's speech. While the user is muted, audio is not analyzed."""

    def __init__(self, config: TurnConfig, detector: VoiceActivityDetector) -> None:
        super().__init__()
        self._config = config
        self._detector = detector
        self._events = SpeechEvents(config.pause_seconds)
        detector.set_sample_rate(INPUT_SAMPLE_RATE)
        self._muted = False
        self._spoken_seconds = 0.0  # since the last UserSpeakingFrame

    async def cleanup(self) -> None:
        """Free the detector."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._detector.cleanup()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass every frame on; then push the events that its audio caused."""
        await super().process_frame(frame, direction)
        match frame:
            case UserMuteStartedFrame():
                self._muted = True
            case UserMuteStoppedFrame():
                self._muted = False
        await self.push_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame) and not self._muted:
            await self._analyze(frame.audio)

    async def _analyze(self, pcm: bytes) -> None:
        state = await self._detector.analyze_audio(pcm)
        for event in self._events.update(state, self._detector.silence_seconds):
            await self._push_event(event)
        if self._events.speaking:
            self._spoken_seconds += len(pcm) / 2 / INPUT_SAMPLE_RATE
            if self._spoken_seconds >= ACTIVITY_SECONDS:
                self._spoken_seconds = 0.0
                await self.push_frame(UserSpeakingFrame())

    async def _push_event(self, event: SpeechEvent) -> None:
        match event:
            case SpeechEvent.STARTED:
                start_seconds = self._config.vad_start_seconds
                await self.push_frame(VADUserStartedSpeakingFrame(start_secs=start_seconds))
            case SpeechEvent.PAUSED:
                silence_seconds = self._detector.silence_seconds or self._config.vad_stop_seconds
                await self.push_frame(SpeechPausedFrame(silence_seconds))
            case SpeechEvent.RESUMED:
                await self.push_frame(SpeechResumedFrame())
            case SpeechEvent.STOPPED:
                stop_seconds = self._config.vad_stop_seconds
                await self.push_frame(VADUserStoppedSpeakingFrame(stop_secs=stop_seconds))
