"""Create the speech-LLM engine that the setting `llm.engine` names.

This is the one place that knows which engines exist. To add one:

1. Implement `SpeechEngine` and `SpeechSession` (appliance/link/engine.py) in a package of its own
   beside `small` and `vllm`. Measure with `LLMMetrics` (metrics.py), so that dashboards and alerts
   work unchanged.
2. Add a function below that creates it, and its name to ENGINES. Import the engine inside the
   function: only the libraries of the engine in use may be loaded.
3. Allow the name for `llm.engine` in appliance/settings.py.
4. Run `SpeechContract` (tests/link/contract.py) against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from appliance.errors import BadSetting
from appliance.link.engine import SpeechEngine
from appliance.settings import Settings


def _create_small(settings: Settings) -> SpeechEngine:
    from appliance.engines.llm.small.engine import SmallEngine

    return SmallEngine(settings)


def _create_vllm(settings: Settings) -> SpeechEngine:
    from appliance.engines.llm.vllm.engine import VllmEngine

    return VllmEngine(settings)


ENGINES: Final[Mapping[str, Callable[[Settings], SpeechEngine]]] = {
    "small": _create_small,  # Moonshine and a GGUF model, on a CPU
    "vllm": _create_vllm,  # Ultravox under vLLM, on a GPU
}


def create_engine(settings: Settings) -> SpeechEngine:
    """Create the engine without starting it. Raises BadSetting for an unknown name."""
    name = settings.llm.engine
    if name not in ENGINES:
        raise BadSetting(name="llm.engine", why=f"{name!r} is not one of {', '.join(ENGINES)}")
    return ENGINES[name](settings)
