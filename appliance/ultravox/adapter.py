"""The parts of Pipecat's LLM interface that a service with a memory of its own has to fill in."""

from __future__ import annotations

from typing import Any

from pipecat.adapters.llm.base_llm_adapter import BaseLLMAdapter
from pipecat.services.settings import LLMSettings

from appliance.settings import Ultravox


class NoAdapter(BaseLLMAdapter[Any]):
    """The history is kept by the service; nothing is made of Pipecat's context yet."""

    @property
    def id_for_llm_specific_messages(self) -> str:
        return "ultravox"

    async def get_llm_invocation_params(self, context: Any, **_: Any) -> Any:
        return {}

    def to_provider_tools_format(self, tools_schema: Any) -> list[Any]:
        return []

    def get_messages_for_logging(self, context: Any) -> list[dict[str, Any]]:
        return []


def pipecat_settings(settings: Ultravox) -> LLMSettings:
    """What Pipecat shows of the model; the engine has its own settings."""
    return LLMSettings(
        model=settings.model,
        system_instruction=settings.system_prompt,
        temperature=settings.temperature,
        max_tokens=settings.reply_tokens,
        top_p=None,
        top_k=None,
        frequency_penalty=None,
        presence_penalty=None,
        seed=None,
        filter_incomplete_user_turns=False,
        user_turn_completion_config=None,
    )
