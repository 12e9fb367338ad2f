"""How the settings become Pipecat's turn taking."""

from __future__ import annotations

from collections.abc import Callable

from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.turns.user_mute import AlwaysUserMuteStrategy
from pipecat.turns.user_start import VADUserTurnStartStrategy
from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from appliance.gateway.turn_taking import TurnModels
from appliance.settings import Turn


def user_params(
    turn: Turn, models: TurnModels, ended_by: Callable[[str], None]
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
