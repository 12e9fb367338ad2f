"""How the settings become Pipecat's turn taking."""

from __future__ import annotations

import pytest
from pipecat.turns.user_mute import AlwaysUserMuteStrategy
from pipecat.turns.user_start import VADUserTurnStartStrategy
from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy

from appliance.gateway.turn_taking import TurnModels, user_params
from appliance.settings import TurnConfig


@pytest.fixture(scope="module")
def models() -> TurnModels:
    return TurnModels(TurnConfig())


def test_speech_begins_a_turn_and_smart_turn_ends_it_without_a_transcript(
    models: TurnModels,
) -> None:
    strategies = user_params(TurnConfig(), models, lambda what: None).user_turn_strategies
    assert strategies is not None
    (start,), (stop,) = strategies.start or [], strategies.stop or []
    assert isinstance(start, VADUserTurnStartStrategy)
    assert isinstance(stop, TurnAnalyzerUserTurnStopStrategy)
    assert stop._wait_for_transcript is False


def test_each_caller_gets_detectors_of_its_own(models: TurnModels) -> None:
    first, second = (user_params(TurnConfig(), models, lambda what: None) for _ in range(2))
    assert first.vad_analyzer is not second.vad_analyzer


def test_the_last_resort_is_a_setting(models: TurnModels) -> None:
    params = user_params(TurnConfig(stop_timeout_seconds=7.0), models, lambda what: None)
    assert params.user_turn_stop_timeout == 7.0


def test_full_duplex_listens_while_the_bot_speaks(models: TurnModels) -> None:
    assert user_params(TurnConfig(), models, lambda what: None).user_mute_strategies == []


def test_half_duplex_does_not(models: TurnModels) -> None:
    (mute,) = user_params(
        TurnConfig(half_duplex=True), models, lambda what: None
    ).user_mute_strategies
    assert isinstance(mute, AlwaysUserMuteStrategy)
