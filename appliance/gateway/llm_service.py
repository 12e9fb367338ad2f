"""`UltravoxWithContextService`: a Pipecat service that connects one session to the speech-LLM.

For Pipecat it is a realtime LLM service driven by local turn frames: audio goes in, LLM text frames
come out. The audio is sent to the engine while the user speaks. At a pause, the reply is begun
privately (speculation.py) or at least prefilled; it is pushed when the turn has ended. Each turn
runs in its own task, which an interruption cancels. If the engine is lost during a turn, the user
hears a hold message and the request is repeated once the engine is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from pipecat.adapters.llm.base_llm_adapter import BaseLLMAdapter
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMServiceMetadataFrame,
    LLMSetToolsFrame,
    StartFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import LLMTokenUsage
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection
from pipecat.processors.frameworks.rtvi.frames import RTVISendTextFrame
from pipecat.services.llm_service import LLMService
from pipecat.services.settings import LLMSettings
from pipecat.utils.time import time_now_iso8601

from appliance import journal
from appliance.errors import EngineFailed
from appliance.gateway.history import Exchange, History
from appliance.gateway.interruption_gate import HearUtteranceFrame, UtteranceHearing
from appliance.gateway.prefetch import Prefetcher
from appliance.gateway.reply import ReplyEndFrame, ReplyGenerator, TurnCallbacks
from appliance.gateway.speculation import Speculator
from appliance.gateway.tool_executor import ToolExecutor
from appliance.gateway.turn_stop import PauseTranscriptFrame
from appliance.gateway.utterances import UtteranceCollector
from appliance.gateway.voice_activity import SpeechPausedFrame, SpeechResumedFrame
from appliance.link.client import EngineClient
from appliance.link.engine import Result, Tool, Turn, Utterance
from appliance.settings import LLMConfig
from appliance.tasks import spawn

CANNOT_REPLY = "I am sorry, I cannot answer right now."
HEARD_SECONDS = 0.5  # an interruption reaches the end of the pipeline within milliseconds
MAX_UNANSWERED_CHARS = 8_000  # of typed questions without a reply; the latest text is kept
log = journal.get()


class UltravoxAdapter(BaseLLMAdapter[Any]):
    """Converts the tools of Pipecat's context. The messages of the context are not used."""

    @property
    def id_for_llm_specific_messages(self) -> str:
        return "llm"

    async def get_llm_invocation_params(self, context: Any, **_: Any) -> Any:
        return {}

    def to_provider_tools_format(self, tools_schema: ToolsSchema) -> list[Tool]:
        """Return the tools in the types of the engine link."""
        tools = []
        for schema in tools_schema.standard_tools:
            parameters = json.dumps(schema.to_default_dict()["parameters"], ensure_ascii=False)
            tools.append(Tool(schema.name, schema.description, parameters))
        return tools

    def tools_of(self, context: LLMContext) -> tuple[Tool, ...]:
        """Return the tools that the model may currently call."""
        tools = self.from_standard_tools(context.tools)
        return tuple(tools) if isinstance(tools, list) else ()

    def get_messages_for_logging(self, context: Any) -> list[dict[str, Any]]:
        return []


def pipecat_settings(config: LLMConfig) -> LLMSettings:
    """Return the settings that Pipecat reports. The engine reads its own from the configuration."""
    return LLMSettings(
        model=config.model,
        system_instruction=config.system_prompt,
        temperature=config.temperature,
        max_tokens=config.reply_tokens,
        top_p=None,
        top_k=None,
        frequency_penalty=None,
        presence_penalty=None,
        seed=None,
        filter_incomplete_user_turns=False,
        user_turn_completion_config=None,
    )


class UltravoxWithContextService(LLMService[UltravoxAdapter]):
    """One session's speech-LLM client.

    Only the tools are read from Pipecat's `context`; the conversation is kept in `History`.
    """

    adapter_class = UltravoxAdapter

    def __init__(
        self,
        config: LLMConfig,
        client: EngineClient,
        speculator: Speculator,
        callbacks: TurnCallbacks,
        context: LLMContext,
        transcripts: bool,
    ) -> None:
        """`transcripts`: whether the user's words may be shown to the client."""
        super().__init__(settings=pipecat_settings(config))
        self._config = config
        self._client = client
        self._speculator = speculator
        self._callbacks = callbacks
        self._context = context
        self._transcripts = transcripts
        self._collector = UtteranceCollector(config.pre_roll_seconds, config.max_utterance_seconds)
        self._history = History(
            config.system_prompt,
            config.history_tokens,
            config.history_turns,
            config.audio_turns,
        )
        self._prefetcher = Prefetcher(client, self._history, self._tools, speculator.others_waiting)
        self._tool_executor = ToolExecutor(self, context)
        self._reply_generator = ReplyGenerator(
            config,
            speculator.generate,
            self._history,
            callbacks,
            self._tool_executor,
            self.push_frame,
        )
        self._hearing = UtteranceHearing(client, self._push_upstream)
        self._turn: asyncio.Task[None] | None = None
        self._hanging_up = False
        self._heard_reported = asyncio.Event()  # cleared by an interruption
        self._heard_reported.set()

    def can_generate_metrics(self) -> bool:
        """True: time to first token, processing time and token usage are reported."""
        return True

    def service_metadata_frame(self) -> LLMServiceMetadataFrame:
        """Announce a realtime service, so that Pipecat does not wait for transcripts of turns."""
        return LLMServiceMetadataFrame(service_name=self.name, is_realtime_service=True)

    def reply_heard(self, text: str) -> None:
        """Record in the history which text of the last reply or the greeting the user has heard."""
        if text:
            self._history.add_heard(text)
        self._heard_reported.set()
        self._prefetcher.trim_history()
        self._utterance_may_be_complete()  # if it interrupted this reply

    def hang_up(self) -> None:
        """End the session after the reply in progress. Tools call this."""
        self._hanging_up = True

    async def start(self, frame: StartFrame) -> None:
        """Prefill the system prompt before the user speaks."""
        await super().start(frame)
        self._prefetcher.prefill()

    async def cleanup(self) -> None:
        """Cancel the running turn and close the engine session."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        if self._turn is not None:
            await self.cancel_task(self._turn)
            self._turn = None
        await self._hearing.close()
        await self._speculator.close()
        await self._prefetcher.close()
        await self._client.close()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Collect audio, start and cancel turns, and push all frames except audio and contexts."""
        await super().process_frame(frame, direction)
        match frame:
            case InputAudioRawFrame():
                if self._collector.add_audio(frame.audio):
                    self._prefetcher.audio_added(self._collector)
                return  # no later processor needs it, and each hop costs time in every session
            case InterruptionFrame():
                self._heard_reported.clear()
                self._speculator.discard("interrupted")
                await self._cancel_turn()
            case VADUserStartedSpeakingFrame():
                self._callbacks.on_speech_started(frame.start_secs)
                self._speech_started(frame.start_secs)
            case UserStartedSpeakingFrame():
                self._client.add(self._collector.turn_started())
            case SpeechPausedFrame():
                self._collector.speech_paused(frame.silence_seconds)
                self._utterance_may_be_complete()
            case SpeechResumedFrame():
                self._speech_resumed()
            case VADUserStoppedSpeakingFrame():
                delay_seconds = max(0.0, time.time() - frame.timestamp)  # see interruption_gate.py
                self._callbacks.on_speech_stopped(frame.stop_secs + delay_seconds)
                if (dropped := self._collector.speech_stopped()) is not None:
                    self._prefetcher.discard([dropped])
            case HearUtteranceFrame():
                await self._hearing.ask(frame.request, self._collector.current)
            case UserStoppedSpeakingFrame():
                await self._turn_ended()
            case RTVISendTextFrame():
                await self._submit(Exchange(text=frame.text))
            case LLMContextFrame():
                return  # `History` already has the conversation
            case LLMSetToolsFrame():
                self._sync_registered_tool_handlers(frame.tools)
        await self.push_frame(frame, direction)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame. The tool executor observes it, because it may be a tool result."""
        self._tool_executor.observe(frame)
        await super().push_frame(frame, direction)

    async def _push_upstream(self, frame: Frame) -> None:
        await self.push_frame(frame, FrameDirection.UPSTREAM)

    def _service_tools(self) -> ToolsSchema | None:
        """Return the tools whose functions Pipecat registers before the first context frame."""
        tools = self._context.tools
        return tools if isinstance(tools, ToolsSchema) else None

    def _tools(self) -> tuple[Tool, ...]:
        return self.get_llm_adapter().tools_of(self._context)

    def _speech_started(self, seconds_ago: float) -> None:
        self._speculator.discard("speech_resumed")
        is_new = self._collector.current is None
        self._client.add(self._collector.speech_started(seconds_ago))
        self._prefetcher.audio_added(self._collector)
        if is_new and not self._prefetcher.turn_running:
            self._prefetcher.prefill()

    def _speech_resumed(self) -> None:
        self._speculator.discard("speech_resumed")
        if self._collector.current is not None:
            self._collector.speech_started()
            self._prefetcher.audio_added(self._collector)

    def _utterance_may_be_complete(self) -> None:
        """Begin the reply to the utterance of a turn that has paused, or prefill it."""
        utterance = self._collector.current
        if utterance is None or self._collector.speaking or not self._collector.in_turn:
            return
        if not self._begin_early(utterance):
            self._prefetcher.prefill(Turn("user", utterance=utterance.id))
        if self._config.engine == "small":  # it has the words anyway; vLLM would have to generate
            spawn(self._report_words(utterance, len(utterance.pcm)), "words at a pause")

    async def _report_words(self, utterance: Utterance, heard_bytes: int) -> None:
        """Push the transcript of the turn upstream, for the decision whether the turn has ended."""
        with contextlib.suppress(EngineFailed):  # the turn will report the failure
            text = await self._client.transcribe(utterance.id)
            if self._collector.current is utterance and len(utterance.pcm) == heard_bytes:
                await self._push_upstream(PauseTranscriptFrame(text))

    def _begin_early(self, utterance: Utterance) -> bool:
        """Begin the reply to an utterance that may be complete. Return whether it was begun.

        A question without a reply will be joined with this one, so it is not begun.
        """
        if self._history.pending() is not None or self._prefetcher.turn_running:
            return False
        conversation = (*self._history.conversation(), Turn("user", utterance=utterance.id))
        request = self._reply_generator.request(conversation, self._tools())
        return self._speculator.begin(request, utterance)

    async def _turn_ended(self) -> None:
        # A turn that starts late may end at once. What the user has heard of the interrupted reply
        # belongs to the question before.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARD_SECONDS):
                await self._heard_reported.wait()
        self._speculator.turn_ended()
        utterance = self._collector.turn_ended()
        if utterance is not None:
            await self._submit(Exchange(utterance=utterance))
            return
        self._speculator.discard("changed")
        self._callbacks.on_turn_dropped("too_short")
        if (pending := self._history.pending()) is not None:
            await self._cancel_turn()
            self._start_turn(pending)  # a cough must not cancel the reply

    async def _submit(self, question: Exchange) -> None:
        """Start a turn. If the previous question got no reply, join the two."""
        await self._cancel_turn()
        if (unanswered := self._history.pop_unanswered()) is not None:
            question = self._join(unanswered, question)
        self._start_turn(self._history.add(question.text, question.utterance))

    def _join(self, first: Exchange, second: Exchange) -> Exchange:
        text = f"{first.text}\n{second.text}".strip()[-MAX_UNANSWERED_CHARS:]
        if first.utterance is None or second.utterance is None:
            return Exchange(text=text, utterance=first.utterance or second.utterance)
        self._prefetcher.discard([first.utterance, second.utterance])
        joined = self._collector.join(first.utterance, second.utterance)
        self._client.add(joined)
        return Exchange(text=text, utterance=joined)

    def _start_turn(self, exchange: Exchange) -> None:
        utterance = exchange.utterance
        self._callbacks.on_turn_submitted(
            "spoken" if utterance else "typed", utterance.seconds if utterance else 0.0
        )
        self._speculator.reply_waiting()
        self._turn = self.create_task(self._run_turn(exchange))

    async def _cancel_turn(self) -> None:
        if self._turn is not None:
            await self.cancel_task(self._turn)
            self._turn = None
            await self.cancel_function_calls(reason="interruption")
            await self.stop_all_metrics()  # type: ignore[no-untyped-call]

    async def _run_turn(self, exchange: Exchange) -> None:
        async def on_first_token() -> None:
            await self.stop_ttfb_metrics()
            self._callbacks.on_first_token()
            if exchange.utterance is not None:
                self._prefetcher.transcribe(exchange.utterance, self._on_transcript)

        self._hanging_up = False
        self._prefetcher.turn_running = True
        pending: Exchange | None = None
        try:
            await self._prefetcher.forget_discarded()
            await self.start_processing_metrics()
            await self.start_ttfb_metrics()
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
                await self.push_frame(ReplyEndFrame())
        finally:
            self._prefetcher.turn_running = False
            self._speculator.reply_audible()
            await self.stop_processing_metrics()
        if pending is not None:
            self._start_turn(pending)  # a cough that interrupted the reply must not cancel it

    async def _say_cannot_reply(self) -> None:
        self._callbacks.on_turn_dropped("failed")
        await self.push_frame(ReplyEndFrame())
        await self.push_frame(TTSSpeakFrame(CANNOT_REPLY, append_to_context=False))

    async def _complete(self, exchange: Exchange, result: Result) -> None:
        if result.reason == "nothing_heard" and not exchange.tool_calls:
            self._history.pop_unanswered()
            if exchange.utterance is not None:
                self._prefetcher.discard([exchange.utterance])
            self._callbacks.on_turn_dropped("nothing_heard")
            return
        self._callbacks.on_generated(result)
        self._prefetcher.reply_generated(self._reply_generator.text)
        if self._hanging_up:
            self._callbacks.on_hang_up(self._reply_generator.ended_with_text)
        prompt, reply = (
            int(result.stats.get(name, 0)) for name in ("prompt_tokens", "decode_tokens")
        )
        usage = LLMTokenUsage(
            prompt_tokens=prompt, completion_tokens=reply, total_tokens=prompt + reply
        )
        await self.start_llm_usage_metrics(usage)

    async def _on_transcript(self, text: str) -> None:
        self._callbacks.on_transcript(text)
        if text and self._transcripts:
            frame = TranscriptionFrame(text, "", time_now_iso8601(), finalized=True)
            await self.push_frame(frame, FrameDirection.UPSTREAM)
