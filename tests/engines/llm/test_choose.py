"""One setting names the engine; a wrong name is refused before anything is loaded."""

from __future__ import annotations

import pytest

from appliance.engines.llm.choose import engine
from appliance.engines.llm.small.engine import SmallEngine
from appliance.errors import BadSetting
from appliance.settings import load


def test_the_cpu_profile_answers_with_the_small_engine() -> None:
    assert isinstance(engine(load({})), SmallEngine)


def test_the_gpu_profile_answers_with_vllm() -> None:
    chosen = engine(load({"VOICE_PROFILE": "gpu"}))
    assert type(chosen).__name__ == "VllmEngine"


def test_an_unknown_engine_is_refused_by_name() -> None:
    with pytest.raises(BadSetting, match="'whisper'"):
        engine(load({"VOICE_LLM_ENGINE": "whisper"}))
