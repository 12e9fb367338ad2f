"""The end of the user's turn as a Pipecat stop strategy, driven by `endpointing.Endpointer`.

It keeps the latest audio for smart-turn, which runs in a thread pool that all sessions share. The
strategy replaces Pipecat's TurnAnalyzerUserTurnStopStrategy, which knows only smart-turn's answer
and one fixed silence, and waits for the model before it takes the next audio.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.turns.types import ProcessFrameResult
from pipecat.turns.user_stop import BaseUserTurnStopStrategy

from appliance.gateway.frames import (
    MissingAudioFrame,
    PauseTranscriptFrame,
    SpeechPausedFrame,
    SpeechResumedFrame,
    VoiceBeganFrame,
    VoiceFadedFrame,
)
from appliance.gateway.turns.endpointing import Endpointer, EndpointingPolicy, Reason
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import TurnConfig
from appliance.tasks import spawn

AUDIO_SECONDS = 8.0  # smart-turn hears the last 8 seconds
BEFORE_SPEECH_SECONDS = 0.5  # that smart-turn hears before the turn; Pipecat's PRE_SPEECH_MS

Completeness = Callable[[bytes], Awaitable[float]]


class RecentAudio:
    """The latest audio of a session, 16 kHz mono int16. No I/O."""

    def __init__(self) -> None:
        self._pcm = bytearray()

    def append(self, pcm: bytes) -> None:
        """Add audio. At most a second more than smart-turn hears is kept."""
        self._pcm += pcm
        if len(self._pcm) > _bytes_of(AUDIO_SECONDS + 1):
            del self._pcm[: -_bytes_of(AUDIO_SECONDS)]

    def latest(self, seconds: float) -> bytes:
        """Return the last `seconds`, at most 8."""
        size = _bytes_of(min(seconds, AUDIO_SECONDS))
        return bytes(self._pcm[-size:]) if size else b""


def _bytes_of(seconds: float) -> int:
    return round(seconds * INPUT_SAMPLE_RATE) * 2


class EndpointingStopStrategy(BaseUserTurnStopStrategy):
    """Ends the user's turn when `Endpointer` does.

    completeness  smart-turn: returns the probability that the turn in 16 kHz PCM is complete
    on_turn_end   called with the reason, one of metrics.TURN_ENDS, before the turn ends
    """

    def __init__(
        self,
        config: TurnConfig,
        completeness: Completeness,
        on_turn_end: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._endpointer = Endpointer(EndpointingPolicy(config), config.incomplete_stop_seconds)
        self._completeness = completeness
        self._on_turn_end = on_turn_end
        self._audio = RecentAudio()
        self._stop_seconds = config.vad_stop_seconds
        self._late_reason: Reason | None = None

    async def handle_user_turn_started(self) -> None:
        """Note a turn that a start strategy has started only after its speech had ended."""
        if not self._endpointer.speaking:
            self._late_reason = "fallback"

    async def handle_user_turn_stopped(self) -> None:
        """Forget the turn, which another strategy or the last-resort timeout may have ended."""
        self._endpointer.reset()
        self._late_reason = None

    async def cleanup(self) -> None:
        """Drop the answer of a smart-turn that still runs."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        self._endpointer.reset()

    async def process_frame(self, frame: Frame) -> ProcessFrameResult:
        """Tell the endpointer about the frame, and act on its decision."""
        await super().process_frame(frame)
        endpointer = self._endpointer
        match frame:
            case InputAudioRawFrame():
                self._audio.append(frame.audio)
                endpointer.audio_received(len(frame.audio) / 2 / INPUT_SAMPLE_RATE)
            case MissingAudioFrame():
                self._audio.append(bytes(_bytes_of(frame.seconds)))
                endpointer.audio_received(frame.seconds)
            case VoiceBeganFrame():
                endpointer.voice_began()
            case VoiceFadedFrame():
                endpointer.voice_faded()
            case VADUserStartedSpeakingFrame():
                self._late_reason = None
                endpointer.speech_started(frame.start_secs)
            case SpeechPausedFrame():
                endpointer.speech_paused(frame.silence_seconds)
            case SpeechResumedFrame():
                endpointer.speech_resumed()
            case VADUserStoppedSpeakingFrame():
                endpointer.speech_stopped()
            case PauseTranscriptFrame():
                endpointer.words_heard(frame.text)
            case _:
                return ProcessFrameResult.CONTINUE
        await self._act()
        return ProcessFrameResult.CONTINUE

    async def _act(self) -> None:
        endpointer = self._endpointer
        silence = endpointer.take_prediction_request()
        if silence is not None:
            spawn(self._predict(silence), "smart-turn")
        reason = endpointer.ended() or self._late_reason
        if reason is not None:
            self._late_reason = None
            endpointer.reset()
            self._on_turn_end(reason)
            await self.trigger_user_turn_stopped()

    async def _predict(self, silence: int) -> None:
        """Ask smart-turn about the turn so far."""
        endpointer = self._endpointer
        if endpointer.started_at is None:
            return
        seconds = endpointer.clock - endpointer.started_at + BEFORE_SPEECH_SECONDS
        probability = await self._completeness(self._audio.latest(seconds))
        endpointer.predicted(silence, probability)
        await self._act()
