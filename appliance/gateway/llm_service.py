"""`UltravoxWithContextService`: the user's speech in, the answer's text out, with a memory.

To Pipecat it is a realtime LLM service driven by local turn frames. It hands the audio to the
engine while the user speaks, lets the engine get ready at every pause, asks for the answer when
the turn ends, and streams it on as LLM text frames. Where the model asks for a tool instead,
Pipecat runs it, and the model goes on with the result. A turn runs in a task of its own, which an
interruption cancels. When the engine dies in a turn, the caller is told to wait and the turn is
asked again of the restarted engine.
"""

from __future__ import annotations

import asyncio
import json
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
from appliance.gateway.prefetch import Upkeep
from appliance.gateway.reply import AnswerEndFrame, Calling, Speaking, TurnHooks
from appliance.gateway.utterances import Listening
from appliance.link.client import EngineClient
from appliance.link.engine import Result, Tool, Turn
from appliance.settings import LLMConfig
from appliance.tasks import cancel, spawn


class UltravoxAdapter(BaseLLMAdapter[Any]):
    """Of Pipecat's context only the tools are used; the history is kept by the service."""

    @property
    def id_for_llm_specific_messages(self) -> str:
        return "llm"

    async def get_llm_invocation_params(self, context: Any, **_: Any) -> Any:
        return {}

    def to_provider_tools_format(self, tools_schema: ToolsSchema) -> list[Tool]:
        """The tools as the engine link offers them."""
        tools = []
        for schema in tools_schema.standard_tools:
            parameters = json.dumps(schema.to_default_dict()["parameters"], ensure_ascii=False)
            tools.append(Tool(schema.name, schema.description, parameters))
        return tools

    def offered(self, context: LLMContext) -> tuple[Tool, ...]:
        """What the model may ask for at this moment."""
        tools = self.from_standard_tools(context.tools)
        return tuple(tools) if isinstance(tools, list) else ()

    def get_messages_for_logging(self, context: Any) -> list[dict[str, Any]]:
        return []


def pipecat_settings(settings: LLMConfig) -> LLMSettings:
    """What Pipecat shows of the model; the engine has its own settings."""
    return LLMSettings(
        model=settings.model,
        system_instruction=settings.system_prompt,
        temperature=settings.temperature,
        max_tokens=settings.reply_tokens,
        top_p=None,
        top_k=None,
        frequency_penalty=None,
        presence_penalty=None,
        seed=None,
        filter_incomplete_user_turns=False,
        user_turn_completion_config=None,
    )


log = journal.get()
CANNOT_ANSWER = "I am sorry, I cannot answer right now."
UNANSWERED_CHARS = 8_000  # of text typed again and again without an answer, the end counts


class UltravoxWithContextService(LLMService[UltravoxAdapter]):
    """One session's ears and mind, in front of the engine behind `client`.

    The tools are those of Pipecat's `context`; of what was said it is told, but never asked.
    """

    adapter_class = UltravoxAdapter

    def __init__(
        self,
        settings: LLMConfig,
        client: EngineClient,
        hooks: TurnHooks,
        context: LLMContext,
        transcripts: bool,
    ) -> None:
        super().__init__(settings=pipecat_settings(settings))
        self._knobs = settings
        self._client = client
        self._hooks = hooks
        self._context = context
        self._transcripts = transcripts
        self._listening = Listening(settings.pre_roll_seconds, settings.max_utterance_seconds)
        self._history = History(
            settings.system_prompt,
            settings.history_tokens,
            settings.history_turns,
            settings.audio_turns,
        )
        self._upkeep = Upkeep(
            client, self._history, self._tools, lambda work: spawn(work, "prefetch"), cancel
        )
        self._calling = Calling(self, context)
        self._speaking = Speaking(
            settings, client, self._history, hooks, self._calling, self.push_frame
        )
        self._turn: asyncio.Task[None] | None = None
        self._hanging_up = False

    def can_generate_metrics(self) -> bool:
        """True: first token, processing time and token usage are reported."""
        return True

    def service_metadata_frame(self) -> LLMServiceMetadataFrame:
        """Announces a realtime service, so that turns need no transcript."""
        return LLMServiceMetadataFrame(service_name=self.name, is_realtime_service=True)

    def reply_heard(self, text: str) -> None:
        """Remembers what the user heard of the last answer, or of a greeting before it."""
        if text:
            self._history.heard(text)
        self._upkeep.tidy()

    def hang_up(self) -> None:
        """Ends the call once the answer at hand was spoken; a tool may ask for it."""
        self._hanging_up = True

    async def start(self, frame: StartFrame) -> None:
        """Lets the engine read the system prompt while nobody speaks yet."""
        await super().start(frame)
        self._upkeep.warm()

    async def cleanup(self) -> None:
        """Ends the running turn and the engine session."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        if self._turn is not None:
            await self.cancel_task(self._turn)
            self._turn = None
        await self._upkeep.close()
        await self._client.close()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Feeds the listening, begins and cancels turns; passes all but audio and contexts on."""
        await super().process_frame(frame, direction)
        match frame:
            case InputAudioRawFrame():
                if self._listening.audio(frame.audio):
                    self._upkeep.grown(self._listening)
                return  # Nobody after this needs it, and each hop costs every caller.
            case InterruptionFrame():
                await self._cancel_turn()
            case VADUserStartedSpeakingFrame():
                self._hooks.speech_started(frame.start_secs)
                self._speech_started(frame.start_secs)
            case UserStartedSpeakingFrame():
                self._client.add(self._listening.turn_started())
            case VADUserStoppedSpeakingFrame():
                self._hooks.speech_ended(frame.stop_secs)
                self._speech_paused(frame.stop_secs)
            case UserStoppedSpeakingFrame():
                await self._turn_ended()
            case RTVISendTextFrame():
                await self._ask(Exchange(text=frame.text))
            case LLMContextFrame():
                return  # Only records what was said and done, which the history knows.
            case LLMSetToolsFrame():
                self._sync_registered_tool_handlers(frame.tools)
        await self.push_frame(frame, direction)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Passes a frame on; what Pipecat announces of a tool's end is noted on the way."""
        self._calling.passed(frame)
        await super().push_frame(frame, direction)

    def _service_tools(self) -> ToolsSchema | None:
        """Pipecat registers the functions behind these before there is a context frame."""
        tools = self._context.tools
        return tools if isinstance(tools, ToolsSchema) else None

    def _tools(self) -> tuple[Tool, ...]:
        return self.get_llm_adapter().offered(self._context)

    def _speech_started(self, seconds_ago: float) -> None:
        fresh = self._listening.utterance is None
        self._client.add(self._listening.speech_started(seconds_ago))
        self._upkeep.grown(self._listening)
        if fresh:
            self._upkeep.warm()

    def _speech_paused(self, seconds_ago: float) -> None:
        before = self._listening.utterance
        utterance = self._listening.speech_paused(seconds_ago)
        if utterance is None and before is not None:
            self._upkeep.spent([before])
        if utterance is not None:
            self._upkeep.warm([Turn("user", utterance=utterance.id)])

    async def _turn_ended(self) -> None:
        speech_seconds = self._listening.speech_seconds
        utterance = self._listening.turn_ended()
        if utterance is not None and speech_seconds >= self._knobs.min_utterance_seconds:
            await self._ask(Exchange(utterance=utterance))
            return
        self._hooks.ended("too_short")
        if utterance is not None:
            self._upkeep.spent([utterance])
        if (waiting := self._history.waiting()) is not None:
            await self._cancel_turn()
            self._begin_turn(waiting)  # a cough must not cost the caller the answer

    async def _ask(self, new: Exchange) -> None:
        await self._cancel_turn()
        if (before := self._history.unanswered()) is not None:
            new = self._joined(before, new)
        self._begin_turn(self._history.ask(new.text, new.utterance))

    def _joined(self, before: Exchange, new: Exchange) -> Exchange:
        """What the user said before without hearing any answer belongs to what is said now."""
        text = f"{before.text}\n{new.text}".strip()[-UNANSWERED_CHARS:]
        if before.utterance is None or new.utterance is None:
            return Exchange(text=text, utterance=before.utterance or new.utterance)
        self._upkeep.spent([before.utterance, new.utterance])
        both = self._listening.joined(before.utterance, new.utterance)
        self._client.add(both)
        return Exchange(text=text, utterance=both)

    def _begin_turn(self, exchange: Exchange) -> None:
        said = exchange.utterance
        self._hooks.asked("spoken" if said else "typed", said.seconds if said else 0.0)
        self._turn = self.create_task(self._run_turn(exchange))

    async def _cancel_turn(self) -> None:
        if self._turn is not None:
            await self.cancel_task(self._turn)
            self._turn = None
            await self.cancel_function_calls(reason="interruption")
            await self.stop_all_metrics()  # type: ignore[no-untyped-call]

    async def _run_turn(self, exchange: Exchange) -> None:
        async def first() -> None:
            await self.stop_ttfb_metrics()
            self._hooks.first_token()
            if exchange.utterance is not None:
                self._upkeep.transcribe(exchange.utterance, self._understood)

        self._hanging_up = False
        self._upkeep.busy = True
        try:
            await self._upkeep.forget()
            await self.start_processing_metrics()
            await self.start_ttfb_metrics()
            result = await self._speaking.answer(exchange, self._tools, first)
        except EngineFailed as problem:
            self._hooks.failed(problem)
            await self._apologize()
        except Exception:
            # Pipecat would log it without its traceback, and the user would wait in silence.
            log.exception("turn crashed")
            await self._apologize()
        else:
            await self._finished(result, exchange)
            await self.push_frame(AnswerEndFrame())
        finally:
            self._upkeep.busy = False
            await self.stop_processing_metrics()

    async def _apologize(self) -> None:
        self._hooks.ended("failed")
        await self.push_frame(AnswerEndFrame())
        await self.push_frame(TTSSpeakFrame(CANNOT_ANSWER, append_to_context=False))

    async def _finished(self, result: Result, exchange: Exchange) -> None:
        if result.reason == "nothing_heard" and not exchange.calls:
            self._history.unanswered()
            if exchange.utterance is not None:
                self._upkeep.spent([exchange.utterance])
            self._hooks.ended("nothing_heard")
            return
        self._hooks.generated(result)
        if self._hanging_up:
            self._hooks.hang_up(self._speaking.spoke)
        prompt, reply = (int(result.stats.get(n, 0)) for n in ("prompt_tokens", "decode_tokens"))
        usage = LLMTokenUsage(
            prompt_tokens=prompt, completion_tokens=reply, total_tokens=prompt + reply
        )
        await self.start_llm_usage_metrics(usage)

    async def _understood(self, text: str) -> None:
        self._hooks.understood(text)
        if text and self._transcripts:
            frame = TranscriptionFrame(text, "", time_now_iso8601(), finalized=True)
            await self.push_frame(frame, FrameDirection.UPSTREAM)
