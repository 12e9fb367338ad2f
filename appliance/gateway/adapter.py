"""The parts of Pipecat's LLM interface that a service with a memory of its own has to fill in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pipecat.adapters.llm.base_llm_adapter import BaseLLMAdapter
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.settings import LLMSettings

from appliance.link.engine import Tool
from appliance.settings import LLM


class UltravoxAdapter(BaseLLMAdapter[Any]):
    """Of Pipecat's context only the tools are used; the history is kept by the service."""

    @property
    def id_for_llm_specific_messages(self) -> str:
        return "llm"

    async def get_llm_invocation_params(self, context: Any, **_: Any) -> Any:
        return {}

    def to_provider_tools_format(self, tools_schema: ToolsSchema) -> list[Tool]:
        """The tools as the engine link offers them."""
        tools = []
        for schema in tools_schema.standard_tools:
            parameters = json.dumps(schema.to_default_dict()["parameters"], ensure_ascii=False)
            tools.append(Tool(schema.name, schema.description, parameters))
        return tools

    def offered(self, context: LLMContext) -> Sequence[Tool]:
        """What the model may ask for at this moment."""
        tools = self.from_standard_tools(context.tools)
        return tools if isinstance(tools, list) else ()

    def get_messages_for_logging(self, context: Any) -> list[dict[str, Any]]:
        return []


def pipecat_settings(settings: LLM) -> LLMSettings:
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
