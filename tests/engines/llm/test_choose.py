"""The setting `llm.engine` chooses the engine; an unknown name is refused before anything loads."""

from __future__ import annotations

import pytest

from appliance.engines.llm.choose import create_engine
from appliance.engines.llm.small.engine import SmallEngine
from appliance.errors import BadSetting
from appliance.settings import load


def test_cpu_profile_creates_the_small_engine() -> None:
    assert isinstance(create_engine(load({})), SmallEngine)


def test_gpu_profile_creates_the_vllm_engine() -> None:
    engine = create_engine(load({"VOICE_PROFILE": "gpu"}))
    assert type(engine).__name__ == "VllmEngine"


def test_unknown_engine_is_refused_by_name() -> None:
    with pytest.raises(BadSetting, match="'whisper'"):
        create_engine(load({"VOICE_LLM_ENGINE": "whisper"}))
