"""Which speech-LLM engine answers: the setting `llm.engine` names it."""

from __future__ import annotations

from appliance.errors import BadSetting
from appliance.link.engine import SpeechEngine
from appliance.settings import Settings


def engine(settings: Settings) -> SpeechEngine:
    """The engine, not started yet. Only the chosen one's libraries are imported."""
    match settings.llm.engine:
        case "small":
            from appliance.engines.llm.small.engine import SmallEngine

            return SmallEngine(settings)
        case "vllm":
            from appliance.engines.llm.vllm.engine import VllmEngine

            return VllmEngine(settings)
        case other:
            raise BadSetting(name="llm.engine", why=f"{other!r} is neither small nor vllm")
