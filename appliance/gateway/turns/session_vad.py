"""The voice activity detector of one session: Silero, and what is not the caller's voice.

Not the caller's are the bot's own voice (echo.py), voice below `turn.min_speech_dbfs` or far below
the caller's level (level.py), and voice that never pauses, such as a television's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams, VADState

from appliance.gateway.turns import endpointing
from appliance.gateway.turns.level import WINDOW_SECONDS, CallerLevel, StartLevel
from appliance.gateway.turns.silero import SILENT_WINDOW, Silero, SileroModel

START_NEVER = 1 << 30  # windows
WAITING_WINDOWS = 8  # 0.26 s of audio that cannot begin speech


class SessionVAD(SileroVADAnalyzer):
    """Pipecat's Silero analyzer, with the model that all sessions share.

    start_level   tells whether voice is loud enough to start speech
    is_echo       tells whether a window of 32 ms is the bot's own voice; it is also told whether
                  there is a voice; None: never
    is_bot_busy   tells whether the bot speaks or prepares its reply: speech then starts only after
                  `interrupt_seconds`; None: never
    caller_level  tells whether voice is the caller's by its level; None: always
    """

    def __init__(
        self,
        model: SileroModel,
        params: VADParams,
        start_level: StartLevel,
        caller_level: CallerLevel | None = None,
        interrupt_seconds: float = 0.0,
    ) -> None:
        VADAnalyzer.__init__(self, params=params)  # SileroVADAnalyzer.__init__ loads the model
        self._silero = Silero(model)
        self._model = self._silero  # type: ignore[assignment]  # Pipecat calls `reset_states`
        self._windows_since_reset = 0
        self._low_confidence_windows = 0
        self.is_echo: Callable[[bytes, bool], bool] | None = None
        self.is_bot_busy: Callable[[], bool] | None = None
        self.caller_level = caller_level
        self._start_level = start_level
        self._speaking_windows = 0  # since the latest speech has started
        self._endless = False
        self._waiting: list[tuple[bytes, float]] = []  # audio, and when it arrived
        self._windows: list[bytes] = []  # that the waiting audio completes
        self._rest = b""  # of a window that is not complete
        self.arrived_at = 0.0  # when the audio that is analyzed arrived, in monotonic seconds
        self._interrupt_seconds = max(params.start_secs, interrupt_seconds)
        self.started_seconds_ago = params.start_secs  # of the latest speech, when it was detected

    @property
    def silence_seconds(self) -> float:
        """Length of the silence since the latest speech, while the state is STOPPING."""
        return self._vad_stopping_count * self._vad_frames / self.sample_rate

    def voice_confidence(self, buffer: bytes) -> float:
        """Return the probability of the caller's voice in a window of 32 ms."""
        confidence = self._silero.probability(buffer)
        self._maybe_reset_model(confidence)
        speaking = self._vad_state in (VADState.SPEAKING, VADState.STOPPING)
        voice = confidence >= self._params.confidence
        if self._is_endless(voice, speaking):
            self._start_level.silence()
            return 0.0
        if self.is_echo is not None and self.is_echo(buffer, voice):
            confidence = 0.0
        elif self.caller_level is not None:
            if not voice:
                self.caller_level.silence()
            elif not self.caller_level.accepts(buffer, speaking):
                confidence = 0.0
        return confidence if speaking else self._loud_enough(buffer, confidence)

    def _is_endless(self, voice: bool, speaking: bool) -> bool:
        """Return whether the voice has gone on for too long, and has not paused since then."""
        if not voice:
            self._endless = False
        self._speaking_windows = self._speaking_windows + 1 if speaking else 0
        if self._speaking_windows * WINDOW_SECONDS >= endpointing.LONGEST_TURN_SECONDS:
            self._endless = voice
        return self._endless

    def _loud_enough(self, buffer: bytes, confidence: float) -> float:
        """Return the probability that the window may begin speech, and set when it begins."""
        level = self._start_level
        if confidence < self._params.confidence:
            level.silence()
            return confidence
        level.voice(buffer)
        if level.is_too_soft:
            return 0.0
        busy = self.is_bot_busy is not None and self.is_bot_busy()
        seconds = self._interrupt_seconds if busy else self._params.start_secs
        windows = round(seconds / WINDOW_SECONDS)
        if not level.is_loud_enough:
            windows = START_NEVER
        elif level.windows >= windows:
            self.started_seconds_ago = level.windows * WINDOW_SECONDS
        self._vad_start_frames = windows
        return confidence

    def _get_smoothed_volume(self, audio: bytes) -> float:
        # Pipecat's loudness needs 0.4 s of audio and is smoothed, so the start of a soft word came
        # too late. It also takes 0.17 % of a core (0.29 % without it).
        return 1.0

    async def analyze_audio(self, buffer: bytes, may_wait: bool = False) -> VADState:
        """Analyze the next audio of any length. Return the state at its end.

        With `may_wait`, audio that is too soft to begin speech waits for more, and the model hears
        up to `WAITING_WINDOWS` at once. The state after them is the same. Only voice that is too
        soft for speech is noticed later.
        """
        windows = self._completed(buffer)
        self._waiting.append((buffer, time.monotonic()))
        self._windows += windows
        quiet = self._vad_state == VADState.QUIET and not self._start_level.windows
        few = len(self._windows) < WAITING_WINDOWS
        if may_wait and quiet and few and not any(map(self._start_level.may_start, windows)):
            return self._vad_state
        # Pipecat passes each chunk to a thread, which costs more than the half millisecond that
        # the model takes: eight sessions took 70 to 80 % of a core with threads, and 63 % without
        # (measured).
        waiting, self._waiting = self._waiting, []
        windows, self._windows = self._windows, []
        if len(windows) > 1:
            self._silero.announce(windows)
        for pcm, arrived_at in waiting:
            self.arrived_at = arrived_at
            self._run_analyzer(pcm)
        return self._vad_state

    def _completed(self, buffer: bytes) -> list[bytes]:
        """Return the windows of the audio that `buffer` completes."""
        pcm, size = self._rest + buffer, len(SILENT_WINDOW)
        end = len(pcm) // size * size
        self._rest = pcm[end:]
        return [pcm[start : start + size] for start in range(0, end, size)]
