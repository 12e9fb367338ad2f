"""What Pipecat's LLM services need to know of the speech-LLM: its tools' types and settings."""

from __future__ import annotations

import json
from typing import Any

from pipecat.adapters.llm.base_llm_adapter import BaseLLMAdapter
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.metrics.metrics import LLMTokenUsage
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.settings import LLMSettings

from appliance.link.engine import Result, Tool
from appliance.settings import LLMConfig


class UltravoxAdapter(BaseLLMAdapter[Any]):
    """Converts the tools of Pipecat's context. The messages of the context are not used."""

    @property
    def id_for_llm_specific_messages(self) -> str:
        return "llm"

    async def get_llm_invocation_params(self, context: Any, **_: Any) -> Any:
        return {}

    def to_provider_tools_format(self, tools_schema: ToolsSchema) -> list[Tool]:
        """Return the tools in the types of the engine link."""
        tools = []
        for schema in tools_schema.standard_tools:
            parameters = json.dumps(schema.to_default_dict()["parameters"], ensure_ascii=False)
            tools.append(Tool(schema.name, schema.description, parameters))
        return tools

    def tools_of(self, context: LLMContext) -> tuple[Tool, ...]:
        """Return the tools that the model may currently call."""
        tools = self.from_standard_tools(context.tools)
        return tuple(tools) if isinstance(tools, list) else ()

    def get_messages_for_logging(self, context: Any) -> list[dict[str, Any]]:
        return []


def pipecat_settings(config: LLMConfig) -> LLMSettings:
    """Return the settings that Pipecat reports. The engine reads its own from the configuration."""
    return LLMSettings(
        model=config.model,
        system_instruction=config.system_prompt,
        temperature=config.temperature,
        max_tokens=config.reply_tokens,
        top_p=None,
        top_k=None,
        frequency_penalty=None,
        presence_penalty=None,
        seed=None,
        filter_incomplete_user_turns=False,
        user_turn_completion_config=None,
    )


def token_usage(result: Result) -> LLMTokenUsage:
    """Return the token counts of a reply in Pipecat's type."""
    prompt, reply = (int(result.stats.get(name, 0)) for name in ("prompt_tokens", "decode_tokens"))
    return LLMTokenUsage(prompt_tokens=prompt, completion_tokens=reply, total_tokens=prompt + reply)
