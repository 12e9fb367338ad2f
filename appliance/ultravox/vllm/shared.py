"""What all callers of an engine share."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.settings import Ultravox
from appliance.ultravox.measures import EngineMeters
from appliance.ultravox.vllm.probe import Probe
from appliance.ultravox.vllm.prompt import Llama3Format
from appliance.ultravox.vllm.room import Room
from appliance.ultravox.vllm.runtime import Runtime

NAME = "ultravox"


@dataclass(frozen=True, slots=True)
class Shared:
    """One model with all that goes with it; `context_tokens` is the longest prompt and reply."""

    runtime: Runtime
    form: Llama3Format
    room: Room
    probe: Probe
    meters: EngineMeters
    settings: Ultravox
    context_tokens: int
