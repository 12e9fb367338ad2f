"""The small engine with its real models: over the link, and with several sessions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.engines.llm.small.engine import (
    SmallEngine,
    find_model,
    find_recognizer,
)
from appliance.engines.llm.small.moonshine import Moonshine
from appliance.errors import BadSetting, MissingWeights
from appliance.link.engine import Turn
from appliance.settings import Settings
from tests.engines.llm.helpers import hear, reply, synthesize
from tests.link.contract import SpeechContract

SYSTEM = Turn("system", Settings().llm.system_prompt)


class TestContract(SpeechContract):
    @pytest.fixture
    def spoken(self) -> bytes:
        return synthesize("What is the capital of France?")


async def test_concurrent_sessions_do_not_mix_their_conversations(engine: SmallEngine) -> None:
    async def ask_name(name: str) -> str:
        session = engine.open()
        conversation = [SYSTEM, Turn("user", f"My name is {name}.")]
        text, _ = await reply(session, conversation)
        question = hear(session, 1, synthesize("What is my name?"))
        text, _ = await reply(session, [*conversation, Turn("assistant", text), question])
        await session.close()
        return text

    clara, peter = await asyncio.gather(ask_name("Clara"), ask_name("Peter"))
    assert "Clara" in clara
    assert "Peter" not in clara
    assert "Peter" in peter
    assert "Clara" not in peter


def install(weights: Path, *names: str) -> None:
    for name in names:
        (weights / name).mkdir()
        (weights / name / "model.gguf").touch()


def test_unknown_model_is_refused_with_the_installed_ones(tmp_path: Path) -> None:
    install(tmp_path, "smaller", "larger")
    (tmp_path / "moonshine-tiny-en").mkdir()
    with pytest.raises(BadSetting) as refused:
        find_model(tmp_path, "samller")
    assert str(refused.value) == (
        "The setting llm.model is not usable: "
        "'samller' is not installed; the installed models are larger, smaller."
    )


def test_missing_default_model_is_not_replaced_by_another_model(tmp_path: Path) -> None:
    install(tmp_path, "another")
    with pytest.raises(MissingWeights, match="qwen"):
        find_model(tmp_path, Settings().llm.model)


def test_configured_model_is_reported_missing_when_no_model_is_installed(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="another"):
        find_model(tmp_path, "another")


def test_unknown_recognizer_is_a_bad_setting_and_a_missing_default_is_missing_weights(
    tmp_path: Path,
) -> None:
    with pytest.raises(BadSetting, match="hearing_model"):
        find_recognizer(tmp_path, "whisper")
    with pytest.raises(MissingWeights):
        Moonshine(find_recognizer(tmp_path, Settings().llm.hearing_model), 1)
