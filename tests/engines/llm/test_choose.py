"""Choice of the engine by the setting `llm.engine`."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from appliance.engines.llm.choose import ENGINES, create_engine
from appliance.engines.llm.small.engine import SmallEngine
from appliance.errors import BadSetting
from appliance.settings import LLMConfig, load


def test_cpu_profile_creates_the_small_engine() -> None:
    assert isinstance(create_engine(load({})), SmallEngine)


def test_gpu_profile_creates_the_vllm_engine() -> None:
    engine = create_engine(load({"VOICE_PROFILE": "gpu"}))
    assert type(engine).__name__ == "VllmEngine"


def test_available_engines_match_the_choices_of_the_setting() -> None:
    assert set(ENGINES) == set(get_args(get_type_hints(LLMConfig)["engine"]))


def test_unknown_engine_is_refused_before_an_engine_is_created() -> None:
    with pytest.raises(BadSetting, match="whisper"):
        create_engine(load({"VOICE_LLM_ENGINE": "whisper"}))
