"""Start, use and stop vLLM's AsyncLLM. No other module uses vLLM's engine.

The model runs in child processes of vLLM. vLLM's front end runs in this process, on our event loop.
It receives only token ids, never text, because vLLM's tokenizer would parse special tokens in text.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import multiprocessing
import threading
import warnings
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import journal
from appliance.engines.llm import NAME
from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.vllm.stats import VllmStatLogger
from appliance.errors import ApplianceError, BadRequest, EngineDied, EngineFailed, ModelNotStarted
from appliance.link.engine import INPUT_SAMPLE_RATE

# vLLM's front end and core each keep a list of the clips that need not be sent again. A request
# that is cancelled during preparation leaves its clips on only one of the lists. The next request
# then fails, which corrects the lists, so failed requests are retried.
ATTEMPTS = 3
POLL_SECONDS = 0.2  # interval of checks for exited processes
log = journal.get()


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """A request to vLLM.

    tokens       the prompt, with one placeholder for each clip
    clips        name and samples, in order; vLLM caches the embeddings of a clip by name
    stop_tokens  tokens that end the reply; if empty, only `max_tokens` ends it
    logprobs     number of the largest log-probabilities to return for each token
    priority     lower values run first
    cache_salt   only requests with the same salt share cached KV blocks
    """

    tokens: tuple[int, ...]
    clips: tuple[tuple[str, Samples], ...]
    max_tokens: int
    temperature: float = 0.0
    stop_tokens: tuple[int, ...] = ()
    logprobs: int = 0
    priority: int = 0
    cache_salt: str = ""


@dataclass(frozen=True, slots=True)
class DecodeStep:
    """One or more new tokens.

    text           text of the tokens, without special tokens
    logprobs       for each token, natural log-probabilities by token id, including its own
    cached         number of prompt tokens that were taken from the cache
    finish_reason  "stop", "length" or "abort" in the last step, otherwise empty
    """

    tokens: tuple[int, ...]
    text: str
    logprobs: tuple[dict[int, float], ...]
    cached: int
    finish_reason: str

    @property
    def is_finite(self) -> bool:
        """Whether the log-probabilities are finite. After a NaN, vLLM generates only token 0."""
        return all(
            math.isfinite(logprobs.get(token, math.nan))
            for token, logprobs in zip(self.tokens, self.logprobs, strict=True)
        )


class VllmRuntime:
    """One vLLM engine."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._stopping = False
        self._llm: Any = None
        self._builder: threading.Thread | None = None
        self._other_processes: set[multiprocessing.process.BaseProcess] = set()

    async def start(self, arguments: Mapping[str, Any], stat_logger: VllmStatLogger) -> None:
        """Load the model without blocking the event loop. Raises ModelNotStarted.

        `arguments` are passed to vLLM's `AsyncEngineArgs`.
        """
        loop = asyncio.get_running_loop()
        self._other_processes = set(multiprocessing.active_children())
        built: asyncio.Future[Any] = loop.create_future()

        def settle(llm: Any, problem: BaseException | None) -> None:
            if built.cancelled():
                return
            if problem is not None:
                built.set_exception(problem)
            else:
                built.set_result(llm)

        def build() -> None:
            llm, problem = None, None
            try:
                llm = self._build(arguments, stat_logger)
            except BaseException as raised:  # re-raised where `built` is awaited
                problem = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing awaits it
                loop.call_soon_threadsafe(settle, llm, problem)

        # A daemon thread, because stopping must not wait until the model is loaded.
        self._builder = threading.Thread(target=build, name="vllm-start", daemon=True)
        self._builder.start()
        try:
            self._llm = await built
        except Exception as problem:
            raise ModelNotStarted(path=Path(arguments["model"])) from problem

    def _build(self, arguments: Mapping[str, Any], stat_logger: VllmStatLogger) -> Any:
        # zmq requires an event loop here, and binds to the loop on which it is first used.
        asyncio.set_event_loop(asyncio.new_event_loop())
        warnings.filterwarnings("ignore", message="No running event loop")
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        if self._stopping:
            raise RuntimeError("stopped while starting")
        return AsyncLLM.from_engine_args(
            AsyncEngineArgs(**arguments), stat_loggers=[lambda config, index: stat_logger]
        )

    async def stop(self) -> None:
        """Kill vLLM's processes, which have no state to save, and wait until they have exited."""
        self._stopping = True
        if self._builder is not None:
            logging.getLogger("vllm").setLevel(logging.ERROR)  # hide warnings about the exits
        if self._llm is not None:
            await self._shut_down(self._llm)
        while self._builder is not None and self._builder.is_alive():
            children = set(multiprocessing.active_children()) - self._other_processes
            for child in children:
                child.kill()
            await asyncio.sleep(POLL_SECONDS)
            if self._llm is None and not children:
                return  # the thread is still importing vLLM, and stops after that

    async def _shut_down(self, llm: Any) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        if llm.output_handler is not None:
            llm.output_handler.cancel()
        await asyncio.to_thread(llm.shutdown, 0.0)
        llm.output_processor.propagate_error(EngineDeadError())  # to all pending requests
        # vLLM calls `shutdown` again when Python exits, which fails because its modules are gone.
        llm.shutdown = lambda timeout=None: None

    async def died(self) -> None:
        """Return when vLLM has died."""
        while not self._llm.errored:
            await asyncio.sleep(POLL_SECONDS)

    @property
    def kv_tokens(self) -> int:
        """The capacity of the KV cache in tokens."""
        return int(self._cache_config.num_gpu_blocks) * self.block_tokens

    @property
    def block_tokens(self) -> int:
        """The number of tokens in a block of the KV cache."""
        return int(self._cache_config.block_size)

    @property
    def unfinished(self) -> int:
        """The number of requests that are running or waiting."""
        return int(self._llm.get_num_unfinished_requests())

    @property
    def _cache_config(self) -> Any:
        return self._llm.vllm_config.cache_config

    async def generate(self, request: DecodeRequest) -> AsyncGenerator[DecodeStep, None]:
        """Yield the reply as it is decoded. Closing the generator aborts the request.

        Raises BadRequest for an invalid prompt, EngineDied and EngineFailed.
        """
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError

        prompt, sampling = self._prompt(request), self._sampling(request)
        try:
            for _ in range(ATTEMPTS):
                request_id, should_retry = str(next(self._numbers)), False
                stream = self._llm.generate(prompt, sampling, request_id, priority=request.priority)
                async with contextlib.aclosing(stream):
                    async for output in stream:
                        step = _parse_output(output)
                        should_retry = step.finish_reason == "error" and not step.tokens
                        if not should_retry:
                            yield step
                if not should_retry:
                    return
        except EngineDeadError as problem:
            raise EngineDied(engine=NAME) from problem
        except (VLLMClientError, ValueError) as problem:
            raise BadRequest(engine=NAME, what="a prompt that vLLM refuses") from problem
        except ApplianceError:
            raise
        except Exception as problem:
            raise EngineFailed(engine=NAME) from problem
        raise EngineFailed(engine=NAME)

    def _prompt(self, request: DecodeRequest) -> dict[str, Any]:
        """Build vLLM's prompt. Raises BadRequest for a prompt that would crash the engine.

        A token id outside the embedding table crashes vLLM. Only the placeholder may be outside,
        and it must occur once for each clip.
        """
        config = self._llm.vllm_config.model_config.hf_config
        placeholders = sum(token == config.audio_token_index for token in request.tokens)
        others = [token for token in request.tokens if token != config.audio_token_index]
        if placeholders != len(request.clips) or not others:
            raise BadRequest(engine=NAME, what="different numbers of placeholders and clips")
        if max(others) >= config.get_text_config().vocab_size or min(others) < 0:
            raise BadRequest(engine=NAME, what="a token outside the vocabulary")
        prompt: dict[str, Any] = {"prompt_token_ids": list(request.tokens)}
        if request.clips:
            prompt["multi_modal_data"] = {
                "audio": [(samples, INPUT_SAMPLE_RATE) for _, samples in request.clips]
            }
            prompt["multi_modal_uuids"] = {"audio": [name for name, _ in request.clips]}
        if request.cache_salt:
            prompt["cache_salt"] = request.cache_salt
        return prompt

    def _sampling(self, request: DecodeRequest) -> Any:
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        return SamplingParams(
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            stop_token_ids=list(request.stop_tokens),
            ignore_eos=not request.stop_tokens,
            logprobs=request.logprobs,
            output_kind=RequestOutputKind.DELTA,
        )


def _parse_output(output: Any) -> DecodeStep:
    (completion,) = output.outputs
    return DecodeStep(
        tuple(completion.token_ids),
        completion.text,
        tuple(
            {token: entry.logprob for token, entry in entries.items()}
            for entries in completion.logprobs or ()
        ),
        output.num_cached_tokens or 0,
        completion.finish_reason or "",
    )
