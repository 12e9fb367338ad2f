"""The entry point `vllm.general_plugins`: vLLM calls `register` in each of its processes."""

from __future__ import annotations


def register() -> None:
    """Puts our processor where vLLM looks for one by name."""
    from vllm.transformers_utils import processors

    from appliance.ultravox.vllm.processor import UltravoxProcessor

    processors.UltravoxProcessor = UltravoxProcessor
