"""Turn taking: when the user's turn starts, when it ends, and when the user interrupts the bot.

- Start and interruption (barge-in): after `turn.vad_start_seconds` of speech, detected by Silero
  VAD, interruption_gate.py proposes a turn. While the bot speaks or prepares its reply, it pauses
  the bot first, after `turn.vad_interrupt_seconds`. The bot's own voice (`echo`), voice below
  `turn.min_speech_dbfs` and voice far below the caller's level (`level`) are not speech. With
  `turn.half_duplex` the user is muted while the bot speaks.
- End (endpointing): smart-turn v3 judges at a pause whether the user has finished.
  `endpointing.EndpointingPolicy` decides from its probability, the pace of the speech and the
  words, where an engine sends them, how much silence ends the turn.
  `turn.stop_timeout_seconds` is the last resort.

This module configures the policies and shares the two models. Pipecat loads both per session,
which takes 25 MB and blocks the event loop for up to 450 ms for each caller (measured). smart-turn
is stateless. Silero's state is kept per caller, outside of the model.

smart-turn also runs in a thread pool that all sessions share. It takes a tenth of a second at each
pause of each caller. Each concurrent run takes one core, which the event loop needs, and 13 MiB
that onnxruntime does not give back. With one thread per caller, as in Pipecat, memory grew with
every new maximum of callers that paused at the same moment (measured).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams, VADState
from pipecat.frames.frames import InputAudioRawFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMAssistantAggregator,
    LLMUserAggregator,
    LLMUserAggregatorParams,
)
from pipecat.turns.user_mute import AlwaysUserMuteStrategy
from pipecat.turns.user_start import ExternalUserTurnStartStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from appliance.gateway.hops import DirectAudio, pass_audio
from appliance.gateway.turns import endpointing
from appliance.gateway.turns.echo import EchoDetector
from appliance.gateway.turns.level import WINDOW_SECONDS, CallerLevel, StartLevel
from appliance.gateway.turns.silero import SILENT_WINDOW, Silero, SileroModel
from appliance.gateway.turns.silero_network import SileroNetwork, load_weights
from appliance.gateway.turns.turn_stop import EndpointingStopStrategy
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import TurnConfig


def user_aggregator_params(
    config: TurnConfig, models: TurnModels, on_turn_end: Callable[[str], None]
) -> LLMUserAggregatorParams:
    """Return the turn-taking policy of one session for Pipecat's user aggregator.

    `on_turn_end` is called with the reason, one of metrics.TURN_ENDS, when a turn ends.
    """
    return LLMUserAggregatorParams(
        user_turn_strategies=UserTurnStrategies(
            start=[ExternalUserTurnStartStrategy()],
            stop=[EndpointingStopStrategy(config, models.completeness, on_turn_end)],
        ),
        user_turn_stop_timeout=config.stop_timeout_seconds,
        user_mute_strategies=[AlwaysUserMuteStrategy()] if config.half_duplex else [],
    )


class UserAggregator(DirectAudio, LLMUserAggregator):
    """Pipecat's user aggregator, with a short way for audio."""

    async def take_audio(self, frame: InputAudioRawFrame) -> None:
        """Pass audio on, and to the stop strategies.

        Nothing else in Pipecat's class looks at it, unless the user may be muted.
        """
        if self._params.user_mute_strategies:
            await super().take_audio(frame)
            return
        await pass_audio(self, frame)
        strategies = self._params.user_turn_strategies
        for strategy in strategies.stop or [] if strategies else []:
            await strategy.process_frame(frame)


def context_aggregators(
    context: LLMContext, params: LLMUserAggregatorParams
) -> tuple[UserAggregator, LLMAssistantAggregator]:
    """Return the aggregators of one session, connected as by Pipecat's LLMContextAggregatorPair."""
    user = UserAggregator(context, params=params)
    return user, LLMAssistantAggregator(context, _paired_user_aggregator=user)


START_NEVER = 1 << 30  # windows
WAITING_WINDOWS = 8  # 0.26 s of audio that cannot begin speech


class TurnModels:
    """Silero VAD and smart-turn, loaded once per process; creates one analyzer per session."""

    def __init__(self, config: TurnConfig) -> None:
        self._config = config
        self._silero = SileroModel(SileroNetwork(load_weights()))
        self._smart_turn = LocalSmartTurnAnalyzerV3()
        self._smart_turn._log_data = False  # Pipecat can be told to write audio to the disk
        self._smart_turn.set_sample_rate(INPUT_SAMPLE_RATE)
        self._executor = ThreadPoolExecutor(config.threads, thread_name_prefix="smart-turn")

    def vad_analyzer(self) -> SharedSilero:
        """Return a voice activity detector for one session."""
        config = self._config
        return SharedSilero(
            self._silero,
            VADParams(
                confidence=config.vad_confidence,
                start_secs=config.vad_start_seconds,
                stop_secs=config.vad_stop_seconds,
                min_volume=0.0,  # `StartLevel` takes its place
            ),
            StartLevel(config.min_speech_dbfs),
            CallerLevel() if config.ignore_far_speech else None,
            config.vad_interrupt_seconds,
        )

    def echo_detector(self) -> EchoDetector | None:
        """Return an echo detector for one session; None if the setting switches it off."""
        return EchoDetector() if self._config.ignore_echo else None

    def judge(self, pcm: bytes) -> float:
        """Return smart-turn's probability that a turn is complete.

        `pcm` is the end of the turn up to now, 16 kHz mono int16, with the silence; smart-turn
        hears the last 8 seconds.
        """
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768
        return float(self._smart_turn._predict_endpoint(samples)["probability"])

    async def completeness(self, pcm: bytes) -> float:
        """Return `judge(pcm)`, computed in the shared thread pool."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self.judge, pcm)


class SharedSilero(SileroVADAnalyzer):
    """Silero VAD of one session, with the model that all sessions share.

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
        self.heard_at = 0.0  # when the audio that is analyzed arrived, in monotonic seconds
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
            self.heard_at = arrived_at
            self._run_analyzer(pcm)
        return self._vad_state

    def _completed(self, buffer: bytes) -> list[bytes]:
        """Return the windows of the audio that `buffer` completes."""
        pcm, size = self._rest + buffer, len(SILENT_WINDOW)
        end = len(pcm) // size * size
        self._rest = pcm[end:]
        return [pcm[start : start + size] for start in range(0, end, size)]
