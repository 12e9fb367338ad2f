"""Create the speech-LLM engine selected by the setting `llm.engine`.

To add an engine:

1. Implement `LLMEngine` and `LLMSession` (appliance/link/engine.py) in a new package next to
   `small` and `vllm`. Record metrics with `LLMMetrics` (metrics.py), so that dashboards and alerts
   work unchanged.
2. Below, add a function that creates the engine, and add its name to ENGINES. Import the engine
   inside the function, because only the libraries of the selected engine may be loaded.
3. Allow the name for `llm.engine` in appliance/settings/sections/llm.py. A test checks that the
   names there and in ENGINES are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from appliance.link.engine import LLMEngine
from appliance.settings import Settings


def _create_small(settings: Settings) -> LLMEngine:
    from appliance.engines.llm.small.engine import SmallEngine

    return SmallEngine(settings)


def _create_vllm(settings: Settings) -> LLMEngine:
    from appliance.engines.llm.vllm.engine import VllmEngine

    return VllmEngine(settings)


ENGINES: Final[Mapping[str, Callable[[Settings], LLMEngine]]] = {
    "small": _create_small,  # Moonshine and a GGUF model, on a CPU
    "vllm": _create_vllm,  # Ultravox under vLLM, on a GPU
}


def create_engine(settings: Settings) -> LLMEngine:
    """Create the engine without starting it."""
    return ENGINES[settings.llm.engine](settings)
