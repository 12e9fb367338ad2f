"""What all callers of an engine share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from appliance.engines.llm.metrics import EngineMeters
from appliance.engines.llm.vllm.probe import Probe
from appliance.engines.llm.vllm.prompt import Llama3Format
from appliance.engines.llm.vllm.room import Room
from appliance.engines.llm.vllm.runtime import Runtime
from appliance.settings import LLM

NAME = "llm"


@dataclass(frozen=True, slots=True)
class Shared:
    """One model with all that goes with it.

    context_tokens  the longest prompt and reply
    transcribing    held by the one transcription under way: vLLM has no seat more to spare for any
    """

    runtime: Runtime
    form: Llama3Format
    room: Room
    probe: Probe
    meters: EngineMeters
    settings: LLM
    context_tokens: int
    transcribing: asyncio.Lock = field(default_factory=asyncio.Lock)
