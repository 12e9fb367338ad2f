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

This module connects these policies to Pipecat's aggregators.
"""

from __future__ import annotations

from collections.abc import Callable

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

from appliance.gateway.direct_audio import DirectAudio, pass_audio
from appliance.gateway.turns.turn_models import TurnModels
from appliance.gateway.turns.turn_stop import EndpointingStopStrategy
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
