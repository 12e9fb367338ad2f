"""vLLM's AsyncLLM: how it is started, asked and ended. Nothing else here knows vLLM's engine.

The model runs in child processes of vLLM's; here is its front end, on our event loop. Only token
ids go in, never text: vLLM's tokenizer would find special tokens in it.
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
from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.vllm.stats import SchedulerMeters
from appliance.errors import ApplianceError, BadRequest, EngineDied, EngineFailed, ModelNotStarted
from appliance.link.engine import INPUT_SAMPLE_RATE

# vLLM's two ends keep a list each of the clips that need not be sent again. A request that is
# cancelled while it is prepared leaves its clips on one list only; the next request then fails,
# which corrects the lists.
ATTEMPTS = 3
LOOK_SECONDS = 0.2  # how soon a death is noticed
log = journal.get()


@dataclass(frozen=True, slots=True)
class Ask:
    """A request.

    tokens    the prompt, with one placeholder for each clip
    clips     by name, in order; a name always means the same audio, of which vLLM keeps the work
    logprobs  so many of each token's largest log-probabilities
    stops     tokens that end the reply; without any, nothing but `max_tokens` does
    priority  lower goes first
    salt      what vLLM keeps of this request is of use only to requests with the same
    """

    tokens: tuple[int, ...]
    clips: tuple[tuple[str, Samples], ...]
    max_tokens: int
    temperature: float = 0.0
    stops: tuple[int, ...] = ()
    logprobs: int = 0
    priority: int = 0
    salt: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One or more new tokens.

    text      theirs, without special tokens
    logprobs  of each token, by id, itself included; natural
    cached    how many tokens of the prompt were not computed again
    ended     with the last step: "stop" or "length", or "abort" when it was aborted
    """

    tokens: tuple[int, ...]
    text: str
    logprobs: tuple[dict[int, float], ...]
    cached: int
    ended: str

    @property
    def sound(self) -> bool:
        """Whether the model computed numbers; with a NaN in it, it answers token 0 for ever."""
        return all(
            math.isfinite(given.get(token, math.nan))
            for token, given in zip(self.tokens, self.logprobs, strict=True)
        )


class Runtime:
    """One vLLM."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers = itertools.count()
        self._ending = False
        self._llm: Any = None
        self._builder: threading.Thread | None = None
        self._others: set[multiprocessing.process.BaseProcess] = set()

    async def start(self, arguments: Mapping[str, Any], stats: SchedulerMeters) -> None:
        """Loads the model; the event loop goes on. Raises ModelNotStarted."""
        loop = asyncio.get_running_loop()
        self._others = set(multiprocessing.active_children())
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
                llm = self._build(arguments, stats)
            except BaseException as raised:  # told to whoever waits for it
                problem = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(settle, llm, problem)

        # A daemon: a stop in the middle of loading must not wait for the end of it.
        self._builder = threading.Thread(target=build, name="vllm-start", daemon=True)
        self._builder.start()
        try:
            self._llm = await built
        except Exception as problem:
            raise ModelNotStarted(path=Path(arguments["model"])) from problem

    def _build(self, arguments: Mapping[str, Any], stats: SchedulerMeters) -> Any:
        # zmq asks for an event loop, and moves to the one that it is first used on.
        asyncio.set_event_loop(asyncio.new_event_loop())
        warnings.filterwarnings("ignore", message="No running event loop")
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        if self._ending:
            raise RuntimeError("stopped while starting")
        return AsyncLLM.from_engine_args(
            AsyncEngineArgs(**arguments), stat_loggers=[lambda config, index: stats]
        )

    async def stop(self) -> None:
        """Ends vLLM's processes, at once, as they have nothing to save, and waits for their end."""
        self._ending = True
        if self._builder is not None:
            logging.getLogger("vllm").setLevel(logging.ERROR)  # it warns of ending what is to end
        if self._llm is not None:
            await self._end(self._llm)
        while self._builder is not None and self._builder.is_alive():
            ours = set(multiprocessing.active_children()) - self._others
            for child in ours:
                child.kill()  # what it loads is of no use any more
            await asyncio.sleep(LOOK_SECONDS)
            if self._llm is None and not ours:
                return  # still importing; it will not go on

    async def _end(self, llm: Any) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        if llm.output_handler is not None:
            llm.output_handler.cancel()
        await asyncio.to_thread(llm.shutdown, 0.0)
        llm.output_processor.propagate_error(EngineDeadError())  # to whoever waits for a token
        # It would do so once more when Python ends, and then fail: its modules are gone.
        llm.shutdown = lambda timeout=None: None

    async def died(self) -> None:
        """Returns when vLLM has died."""
        while not self._llm.errored:
            await asyncio.sleep(LOOK_SECONDS)

    @property
    def kv_tokens(self) -> int:
        """How many tokens the cache of keys and values holds."""
        return int(self._cache.num_gpu_blocks) * self.block_tokens

    @property
    def block_tokens(self) -> int:
        """In blocks of so many."""
        return int(self._cache.block_size)

    @property
    def unfinished(self) -> int:
        """Requests under way or waiting."""
        return int(self._llm.get_num_unfinished_requests())

    @property
    def _cache(self) -> Any:
        return self._llm.vllm_config.cache_config

    async def ask(self, ask: Ask) -> AsyncGenerator[Step, None]:
        """The reply as it is decoded. Closing the generator stops the work.

        Raises BadRequest for a prompt that vLLM or we refuse, EngineDied and EngineFailed.
        """
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError

        prompt, sampling = self._prompt(ask), self._sampling(ask)
        try:
            for _ in range(ATTEMPTS):
                number, again = str(next(self._numbers)), False
                stream = self._llm.generate(prompt, sampling, number, priority=ask.priority)
                async with contextlib.aclosing(stream):
                    async for output in stream:
                        step = _step(output)
                        again = step.ended == "error" and not step.tokens
                        if not again:
                            yield step
                if not again:
                    return
        except EngineDeadError as problem:
            raise EngineDied(engine=self._name) from problem
        except (VLLMClientError, ValueError) as problem:
            raise BadRequest(engine=self._name, what="a prompt that vLLM refuses") from problem
        except ApplianceError:
            raise
        except Exception as problem:
            raise EngineFailed(engine=self._name) from problem
        raise EngineFailed(engine=self._name)

    def _prompt(self, ask: Ask) -> dict[str, Any]:
        """Raises BadRequest for what would take the whole engine down.

        That is an id beyond the embeddings: only the placeholder may be there, once for each clip.
        """
        config = self._llm.vllm_config.model_config.hf_config
        placeholders = sum(token == config.audio_token_index for token in ask.tokens)
        others = [token for token in ask.tokens if token != config.audio_token_index]
        if placeholders != len(ask.clips) or not others:
            raise BadRequest(engine=self._name, what="placeholders that are not as many as clips")
        if max(others) >= config.get_text_config().vocab_size or min(others) < 0:
            raise BadRequest(engine=self._name, what="a token beyond the vocabulary")
        prompt: dict[str, Any] = {"prompt_token_ids": list(ask.tokens)}
        if ask.clips:
            prompt["multi_modal_data"] = {
                "audio": [(samples, INPUT_SAMPLE_RATE) for _, samples in ask.clips]
            }
            prompt["multi_modal_uuids"] = {"audio": [name for name, _ in ask.clips]}
        if ask.salt:
            prompt["cache_salt"] = ask.salt
        return prompt

    def _sampling(self, ask: Ask) -> Any:
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        return SamplingParams(
            max_tokens=ask.max_tokens,
            temperature=ask.temperature,
            stop_token_ids=list(ask.stops),
            ignore_eos=not ask.stops,
            logprobs=ask.logprobs,
            output_kind=RequestOutputKind.DELTA,
        )


def _step(output: Any) -> Step:
    (completion,) = output.outputs
    return Step(
        tuple(completion.token_ids),
        completion.text,
        tuple(
            {token: found.logprob for token, found in given.items()}
            for given in completion.logprobs or ()
        ),
        output.num_cached_tokens or 0,
        completion.finish_reason or "",
    )
