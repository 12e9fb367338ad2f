"""What vLLM is started with, and why; pure.

Nothing here is left to what a model folder says about itself: no code, no remote names, no
sampling defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.gpu import Plan
from appliance.gpu.planning import BLOCK_TOKENS, CPU_BLOCK_TOKENS
from appliance.link.engine import HEARD_RATE
from appliance.settings import LLM

MOST_LOGPROBS = 1024  # what the link carries of one token
LEAST_CLIPS = 16  # in one prompt
SPARE_SEATS = 2  # for a transcription and a health probe, for which no reply shall wait
PROCESSOR_CACHE_GB = 0.25  # spectrograms, 51 kB a second of speech: more than an hour of it
NULL_BLOCKS = 1  # of the cache's blocks vLLM keeps one for itself


def arguments(folder: Path, given: LLM, plan: Plan, *, on_cpu: bool) -> dict[str, Any]:
    """The keyword arguments of `AsyncEngineArgs`."""
    block_bytes = plan.kv_bytes // plan.kv_tokens * (CPU_BLOCK_TOKENS if on_cpu else BLOCK_TOKENS)
    return {
        "model": str(folder),
        "trust_remote_code": False,
        "load_format": "safetensors",  # never a pickle
        "config_format": "hf",
        "model_impl": "vllm",  # never a fallback to other code for the same model
        "tokenizer_mode": "hf",
        "generation_config": "vllm",  # the folder's would change how replies are sampled
        "dtype": plan.dtype,
        "kv_cache_dtype": "auto" if plan.kv_dtype == plan.dtype else plan.kv_dtype,
        # For an fp8 past below Hopper vLLM would take FlashInfer, which compiles with nvcc.
        "attention_backend": "TRITON_ATTN" if plan.kv_dtype == "fp8" else None,
        "max_model_len": plan.context_tokens,
        "max_num_seqs": plan.max_sequences + SPARE_SEATS,
        "max_num_batched_tokens": plan.batched_tokens,
        "gpu_memory_utilization": plan.memory_fraction,
        "kv_cache_memory_bytes": plan.kv_bytes + NULL_BLOCKS * block_bytes,
        # Nothing is compiled for a CPU: it takes minutes, and is for tests.
        "enforce_eager": on_cpu,
        "seed": 0,
        # A turn costs only what is new, audio included.
        "enable_prefix_caching": True,
        "mm_processor_cache_gb": PROCESSOR_CACHE_GB,
        "scheduling_policy": "priority",
        # `length` is also what vLLM tries itself out with while it starts. It would take 8 minutes
        # of audio, for which the first caller waited 25 s on two cores.
        "limit_mm_per_prompt": {
            "audio": {
                "count": clips(given),
                "length": int(given.max_utterance_seconds * HEARD_RATE),
            }
        },
        "max_logprobs": MOST_LOGPROBS,
        # No caller's words in a log, no lines that are not ours.
        "enable_log_requests": False,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }


def clips(given: LLM) -> int:
    """How many clips a prompt may have: a conversation of nothing but questions."""
    return max(LEAST_CLIPS, given.history_turns)
