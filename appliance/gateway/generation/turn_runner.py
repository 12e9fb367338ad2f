"""Runs the turns of a session: from a question to its complete reply.

Each turn runs in a task, which an interruption cancels. If the engine is lost during a turn, the
user hears a hold message, and the request is repeated once the engine is back (reply.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pipecat.frames.frames import TranscriptionFrame, TTSSpeakFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import LLMService
from pipecat.utils.time import time_now_iso8601

from appliance import journal
from appliance.errors import EngineFailed
from appliance.gateway.frames import ReplyEndFrame
from appliance.gateway.generation.history import Exchange, History
from appliance.gateway.generation.llm_adapter import token_usage
from appliance.gateway.generation.prefetch import Prefetcher
from appliance.gateway.generation.reply import ReplyGenerator
from appliance.gateway.generation.speculation import Speculator
from appliance.gateway.generation.turn_callbacks import TurnCallbacks
from appliance.link.engine import Result, Tool

CANNOT_REPLY = "I am sorry, I cannot answer right now."
log = journal.get()


class TurnRunner:
    """Runs one turn at a time.

    service      the Pipecat service: its tasks, its metrics, and its place in the pipeline
    tools        returns what the model may currently call
    transcripts  whether the user's words may be shown to the client
    """

    def __init__(
        self,
        service: LLMService[Any],
        reply_generator: ReplyGenerator,
        history: History,
        prefetcher: Prefetcher,
        speculator: Speculator,
        callbacks: TurnCallbacks,
        tools: Callable[[], tuple[Tool, ...]],
        *,
        transcripts: bool,
    ) -> None:
        self._service = service
        self._reply_generator = reply_generator
        self._history = history
        self._prefetcher = prefetcher
        self._speculator = speculator
        self._callbacks = callbacks
        self._tools = tools
        self._transcripts = transcripts
        self._task: asyncio.Task[None] | None = None
        self._hanging_up = False

    def start(self, exchange: Exchange, kind: str = "", *, joined: bool = False) -> None:
        """Start the turn of the last exchange of the history.

        `kind`: "spoken" or "typed"; without it, that of the exchange. `joined`: the question of the
        previous turn is the beginning of this one's.
        """
        kind = kind or exchange.kind
        self._callbacks.on_turn_submitted(kind, exchange.speech_seconds, joined)
        self._speculator.reply_waiting()
        self._task = self._service.create_task(self._run(exchange))

    async def cancel(self) -> None:
        """Cancel the running turn and its tool calls, if there is one."""
        if self._task is not None:
            await self.close()
            await self._service.cancel_function_calls(reason="interruption")
            await self._service.stop_all_metrics()

    async def close(self) -> None:
        """Cancel the running turn, because the session has ended."""
        if self._task is not None:
            await self._service.cancel_task(self._task)
            self._task = None

    def hang_up(self) -> None:
        """End the session after the reply in progress."""
        self._hanging_up = True

    async def _run(self, exchange: Exchange) -> None:
        async def on_first_token() -> None:
            await self._service.stop_ttfb_metrics()
            self._callbacks.on_first_token()
            if exchange.utterances:
                self._prefetcher.transcribe(exchange.utterances, self._on_transcript)

        self._hanging_up = False
        self._prefetcher.turn_running = True
        pending: Exchange | None = None
        try:
            await self._prefetcher.forget_discarded()
            await self._service.start_processing_metrics()
            await self._service.start_ttfb_metrics()
            result = await self._reply_generator.generate(exchange, self._tools, on_first_token)
        except EngineFailed as problem:
            self._callbacks.on_engine_failed(problem)
            await self._say_cannot_reply()
        except Exception:
            # Pipecat would log the error without a traceback, and the user would hear nothing.
            log.exception("turn crashed")
            await self._say_cannot_reply()
        else:
            await self._complete(exchange, result)
            if result.reason == "nothing_heard" and not exchange.tool_calls:
                pending = self._history.pending()
            if pending is None:
                await self._service.push_frame(ReplyEndFrame())
        finally:
            self._prefetcher.turn_running = False
            self._speculator.reply_audible()
            await self._service.stop_processing_metrics()
        if pending is not None:
            # A noise that interrupted the reply must not cancel it.
            self.start(pending, joined=True)

    async def _say_cannot_reply(self) -> None:
        self._callbacks.on_turn_dropped("failed")
        await self._service.push_frame(ReplyEndFrame())
        await self._service.push_frame(TTSSpeakFrame(CANNOT_REPLY, append_to_context=False))

    async def _complete(self, exchange: Exchange, result: Result) -> None:
        if result.reason == "nothing_heard" and not exchange.tool_calls:
            self._history.pop_unanswered()
            self._prefetcher.discard(exchange.utterances)
            self._callbacks.on_turn_dropped("nothing_heard")
            return
        self._callbacks.on_generated(result)
        self._prefetcher.reply_generated(self._reply_generator.text)
        if self._hanging_up:
            self._callbacks.on_hang_up(self._reply_generator.ended_with_text)
        await self._service.start_llm_usage_metrics(token_usage(result))

    async def _on_transcript(self, text: str) -> None:
        self._callbacks.on_transcript(text)
        if text and self._transcripts:
            frame = TranscriptionFrame(text, "", time_now_iso8601(), finalized=True)
            await self._service.push_frame(frame, FrameDirection.UPSTREAM)
