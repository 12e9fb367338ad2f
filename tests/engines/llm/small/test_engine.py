"""The engine on its real models, as all its callers have it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.engines.llm.small.engine import (
    FALLBACK,
    SmallEngine,
    model_folder,
    recognizer_folder,
)
from appliance.engines.llm.small.moonshine import Moonshine
from appliance.errors import BadSetting, EngineFailed, MissingWeights
from appliance.link.engine import Turn
from appliance.settings import LLMConfig, PathsConfig, Settings, load
from tests.engines.llm.conftest import SYSTEM, WEIGHTS, Say, hear, reply, spoken
from tests.link.contract import SpeechContract


class TestContract(SpeechContract):
    @pytest.fixture
    def spoken(self) -> bytes:
        return spoken("What is the capital of France?")


async def test_two_callers_never_hear_each_other(engine: SmallEngine, say: Say) -> None:
    async def call(name: str) -> str:
        session = engine.open()
        conversation = [SYSTEM, Turn("user", f"My name is {name}.")]
        text, _ = await reply(session, conversation)
        conversation += [Turn("assistant", text), hear(session, 1, say("What is my name?"))]
        text, _ = await reply(session, conversation)
        await session.close()
        return text

    clara, peter = await asyncio.gather(call("Clara"), call("Peter"))
    assert "Clara" in clara
    assert "Peter" not in clara
    assert "Peter" in peter
    assert "Clara" not in peter


def test_without_the_wanted_model_the_fallback_answers(tmp_path: Path) -> None:
    (tmp_path / FALLBACK).mkdir()
    (tmp_path / FALLBACK / "model.gguf").touch()
    assert model_folder(tmp_path, "qwen2.5-coder-0.5b-instruct") == tmp_path / FALLBACK


def test_a_name_that_is_no_model_there_is_refused_with_the_models_there(tmp_path: Path) -> None:
    for name in ("smaller", "larger"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.gguf").touch()
    (tmp_path / "moonshine-tiny-en").mkdir()
    with pytest.raises(BadSetting) as refused:
        model_folder(tmp_path, "samller")
    assert str(refused.value) == (
        "The setting llm.model is not usable: 'samller' is none of ['larger', 'smaller']."
    )


async def test_a_language_the_models_do_not_know_is_refused_at_the_start() -> None:
    with pytest.raises(BadSetting, match="'de'"):
        await SmallEngine(load({"VOICE_LLM_LANGUAGE": "de"})).start()


def test_without_any_model_the_wanted_one_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="qwen"):
        model_folder(tmp_path, "qwen2.5-coder-0.5b-instruct")


def test_a_recognizer_that_is_not_there_is_a_wrong_setting_and_the_default_one_a_gap(
    tmp_path: Path,
) -> None:
    with pytest.raises(BadSetting, match="hearing_model"):
        recognizer_folder(tmp_path, "whisper")
    with pytest.raises(MissingWeights):
        Moonshine(recognizer_folder(tmp_path, LLMConfig().hearing_model), 1)


@pytest.mark.skipif(not (WEIGHTS / FALLBACK).is_dir(), reason="the fallback is not installed")
async def test_the_fallback_is_said_aloud_and_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (FALLBACK, "moonshine-tiny-en"):
        (tmp_path / name).symlink_to((WEIGHTS / name).resolve(), target_is_directory=True)
    engine = SmallEngine(Settings(paths=PathsConfig(weights=tmp_path)))
    await engine.start()
    session = engine.open()
    text, _ = await reply(session, [SYSTEM, Turn("user", "Say hello.")])
    await session.close()
    await engine.stop()
    assert text.strip()
    assert "language model replaced by its fallback" in capsys.readouterr().out
    with pytest.raises(EngineFailed):
        _ = engine.answering.model
