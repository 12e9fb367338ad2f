"""Turn taking: when the user's turn starts, when it ends, and when the user interrupts the bot.

- Start and interruption (barge-in): after `turn.vad_start_seconds` of speech, detected by Silero
  VAD, interruption.py proposes a turn, or pauses the bot first. With `turn.half_duplex` the user is
  muted while the bot speaks.
- End (endpointing): after `turn.vad_stop_seconds` of silence, smart-turn v3 judges whether the
  user has finished. If not, `turn.incomplete_stop_seconds` of silence end the turn.
  `turn.stop_timeout_seconds` is the last resort if neither reports an end.

The policies are Pipecat's; this module configures them and shares the two models. Pipecat loads
both per session, which takes 25 MB and blocks the event loop for up to 450 ms for each caller
(measured). One onnxruntime session may run in several threads, and smart-turn is stateless.
Silero's state is kept per caller, outside of the model.

smart-turn also runs in a thread pool that all sessions share. It takes a tenth of a second at each
pause of each caller. Each concurrent run takes one core, which the event loop needs, and 13 MiB
that onnxruntime does not give back. With one thread per caller, as in Pipecat, memory grew with
every new maximum of callers that paused at the same moment (measured).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pipecat.audio.turn.base_turn_analyzer import EndOfTurnState
from pipecat.audio.turn.smart_turn.base_smart_turn import BaseSmartTurn, SmartTurnParams
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroOnnxModel, SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams, VADState
from pipecat.metrics.metrics import MetricsData
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.turns.user_mute import AlwaysUserMuteStrategy
from pipecat.turns.user_start import ExternalUserTurnStartStrategy
from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from appliance.settings import TurnConfig


def user_aggregator_params(
    config: TurnConfig, models: TurnModels, on_turn_end: Callable[[str], None]
) -> LLMUserAggregatorParams:
    """Return the turn-taking policy of one session for Pipecat's user aggregator.

    `on_turn_end` is called as described at `TurnModels.turn_analyzer`.
    """
    return LLMUserAggregatorParams(
        user_turn_strategies=UserTurnStrategies(
            start=[ExternalUserTurnStartStrategy()],
            stop=[
                TurnAnalyzerUserTurnStopStrategy(
                    turn_analyzer=models.turn_analyzer(on_turn_end), wait_for_transcript=False
                )
            ],
        ),
        user_turn_stop_timeout=config.stop_timeout_seconds,
        user_mute_strategies=[AlwaysUserMuteStrategy()] if config.half_duplex else [],
    )


class TurnModels:
    """Silero VAD and smart-turn, loaded once per process; creates one analyzer per session."""

    def __init__(self, config: TurnConfig) -> None:
        self._config = config
        self._silero = SileroVADAnalyzer()._model
        self._smart_turn = LocalSmartTurnAnalyzerV3()._session
        self._executor = ThreadPoolExecutor(config.threads, thread_name_prefix="smart-turn")

    def vad_analyzer(self) -> SharedSilero:
        """Return a voice activity detector for one session."""
        return SharedSilero(
            self._silero,
            VADParams(
                confidence=self._config.vad_confidence,
                start_secs=self._config.vad_start_seconds,
                stop_secs=self._config.vad_stop_seconds,
                min_volume=self._config.vad_min_volume,
            ),
        )

    def turn_analyzer(self, on_turn_end: Callable[[str], None]) -> LocalSmartTurnAnalyzerV3:
        """Return an end-of-turn detector for one session.

        It calls `on_turn_end` with "smart_turn" if the model judged the turn complete, and with
        "fallback" if the model judged it incomplete and silence ended it.
        """
        params = SmartTurnParams(stop_secs=self._config.incomplete_stop_seconds)
        return _SharedSmartTurn(self._smart_turn, self._executor, params, on_turn_end)


class SharedSilero(SileroVADAnalyzer):
    """Silero VAD of one session, with the model that all sessions share."""

    def __init__(self, model: SileroOnnxModel, params: VADParams) -> None:
        VADAnalyzer.__init__(self, params=params)  # SileroVADAnalyzer.__init__ loads the model
        self._model = copy.copy(model)
        self._model.reset_states()
        self._windows_since_reset = 0
        self._low_confidence_windows = 0

    @property
    def silence_seconds(self) -> float:
        """Length of the silence since the latest speech, while the state is STOPPING."""
        return self._vad_stopping_count * self._vad_frames / self.sample_rate

    async def analyze_audio(self, buffer: bytes) -> VADState:
        # Pipecat passes each chunk to a thread, which costs more than the half millisecond that
        # the model takes: eight sessions took 70 to 80 % of a core with threads, and 63 % without
        # (measured).
        return self._run_analyzer(buffer)


class _SharedSmartTurn(LocalSmartTurnAnalyzerV3):
    def __init__(
        self,
        session: object,
        executor: ThreadPoolExecutor,
        params: SmartTurnParams,
        on_turn_end: Callable[[str], None],
    ) -> None:
        BaseSmartTurn.__init__(self, params=params)  # not the parent's, which loads the model
        self._session = session
        self._shared_executor = executor  # Pipecat shuts down `_executor` with each session
        self._log_data = False
        self._on_turn_end = on_turn_end

    @property
    def _model_executor(self) -> ThreadPoolExecutor:
        return self._shared_executor

    def append_audio(self, buffer: bytes, is_speech: bool) -> EndOfTurnState:
        state = super().append_audio(buffer, is_speech)
        if state == EndOfTurnState.COMPLETE:
            self._on_turn_end("fallback")
        return state

    async def analyze_end_of_turn(self) -> tuple[EndOfTurnState, MetricsData | None]:
        state, metrics = await super().analyze_end_of_turn()
        if state == EndOfTurnState.COMPLETE:
            self._on_turn_end("smart_turn")
        return state, metrics
