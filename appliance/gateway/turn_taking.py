"""Silero VAD and smart-turn v3 with one ONNX session each for the whole process.

Pipecat loads both per session: 25 MB and up to 450 ms of a blocked event loop for every caller
(measured). A session of onnxruntime may run from several threads, and all state is in our hands:
Silero's between two runs, smart-turn has none.

All sessions share smart-turn's threads, too. It works for a tenth of a second at each pause of each
caller, and each look at the same time costs a core, which the event loop needs, and 13 MiB that
onnxruntime never gives back: with a thread per caller, as Pipecat has it, memory grew whenever one
more caller than ever before happened to pause at the same moment (measured).
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
from pipecat.turns.user_start import VADUserTurnStartStrategy
from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from appliance.settings import TurnConfig


class TurnModels:
    """Loads both models once; hands out per-session analyzers that share them."""

    def __init__(self, turn: TurnConfig) -> None:
        self._turn = turn
        self._silero = SileroVADAnalyzer()._model
        self._smart_turn = LocalSmartTurnAnalyzerV3()._session
        self._threads = ThreadPoolExecutor(turn.threads, thread_name_prefix="smart-turn")

    def vad(self) -> SileroVADAnalyzer:
        """A voice activity detector for one session."""
        return _SharedSilero(
            self._silero,
            VADParams(
                confidence=self._turn.vad_confidence,
                start_secs=self._turn.vad_start_seconds,
                stop_secs=self._turn.vad_stop_seconds,
                min_volume=self._turn.vad_min_volume,
            ),
        )

    def end_of_turn(self, ended_by: Callable[[str], None]) -> LocalSmartTurnAnalyzerV3:
        """An end-of-turn detector for one session.

        `ended_by` hears "smart_turn" when the model held the turn complete, "fallback" when it
        held it incomplete and silence decided.
        """
        params = SmartTurnParams(stop_secs=self._turn.incomplete_stop_seconds)
        return _SharedSmartTurn(self._smart_turn, self._threads, params, ended_by)


class _SharedSilero(SileroVADAnalyzer):
    def __init__(self, model: SileroOnnxModel, params: VADParams) -> None:
        VADAnalyzer.__init__(self, params=params)  # SileroVADAnalyzer's would load the model
        self._model = copy.copy(model)
        self._model.reset_states()
        self._windows_since_reset = 0
        self._low_confidence_windows = 0

    async def analyze_audio(self, buffer: bytes) -> VADState:
        # Pipecat hands each piece to a thread, which costs more than the model's half millisecond:
        # eight calls took 63 % of a core like this, and 70 to 80 % with the threads (measured).
        return self._run_analyzer(buffer)


class _SharedSmartTurn(LocalSmartTurnAnalyzerV3):
    def __init__(
        self,
        session: object,
        threads: ThreadPoolExecutor,
        params: SmartTurnParams,
        ended_by: Callable[[str], None],
    ) -> None:
        BaseSmartTurn.__init__(self, params=params)  # LocalSmartTurnAnalyzerV3's would load it
        self._session = session
        self._threads = threads
        self._log_data = False
        self._ended_by = ended_by

    @property
    def _model_executor(self) -> ThreadPoolExecutor:
        return self._threads

    def append_audio(self, buffer: bytes, is_speech: bool) -> EndOfTurnState:
        state = super().append_audio(buffer, is_speech)
        if state == EndOfTurnState.COMPLETE:
            self._ended_by("fallback")
        return state

    async def analyze_end_of_turn(self) -> tuple[EndOfTurnState, MetricsData | None]:
        state, metrics = await super().analyze_end_of_turn()
        if state == EndOfTurnState.COMPLETE:
            self._ended_by("smart_turn")
        return state, metrics


def user_params(
    turn: TurnConfig, models: TurnModels, ended_by: Callable[[str], None]
) -> LLMUserAggregatorParams:
    """Parameters of the user aggregator of one session.

    Speech begins a turn and interrupts at once (`vad_start_seconds`); smart-turn ends it, or
    `incomplete_stop_seconds` of silence where smart-turn held it incomplete.
    """
    return LLMUserAggregatorParams(
        vad_analyzer=models.vad(),
        user_turn_strategies=UserTurnStrategies(
            start=[VADUserTurnStartStrategy()],
            stop=[
                TurnAnalyzerUserTurnStopStrategy(
                    turn_analyzer=models.end_of_turn(ended_by), wait_for_transcript=False
                )
            ],
        ),
        user_turn_stop_timeout=turn.stop_timeout_seconds,
        user_mute_strategies=[AlwaysUserMuteStrategy()] if turn.half_duplex else [],
    )
