"""The defaults that differ between the profiles."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.settings.prompts import LARGE_PROMPT

PROFILE_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "cpu": {},
    "gpu": {
        "llm.engine": "vllm",
        "llm.model": "ultravox-v0_5-llama-3_1-8b",
        "llm.system_prompt": LARGE_PROMPT,
        "llm.examples": "",
        "llm.context_tokens": 8192,
        "llm.history_tokens": 4096,
        "llm.history_turns": 100,
        "llm.hold_for_first_phrase": False,
        "tts.backend": "torch",
        "tts.device": "cuda",
        "tts.phrase_time_ratio": 0.3,
        "tts.start_delay_seconds": 0.0,  # a card makes several replies faster than they are spoken
        "gateway.max_sessions": 8,
        "turn.threads": 2,
        "supervision.start_seconds": 240,
        "supervision.load_seconds": 1200.0,
        "supervision.gateway_memory_bytes": 2_500_000_000,
        "supervision.llm_memory_bytes": 0,  # vLLM pins host memory by the card's size
        "supervision.tts_memory_bytes": 8_000_000_000,
        "supervision.growth_bytes": 1_000_000_000,
    },
}
