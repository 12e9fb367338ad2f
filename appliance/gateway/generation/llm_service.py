"""`UltravoxWithContextService`: a Pipecat service that connects one session to the speech-LLM.

For Pipecat it is a realtime LLM service driven by local turn frames: audio goes in, LLM text frames
come out. The audio is sent to the engine while the user speaks. At a pause, the reply is begun
privately (speculation.py) or at least prefilled; it is pushed when the turn has ended
(turn_runner.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMServiceMetadataFrame,
    LLMSetToolsFrame,
    StartFrame,
    TTSSpeakFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection
from pipecat.processors.frameworks.rtvi.frames import RTVISendTextFrame
from pipecat.services.llm_service import LLMService

from appliance.errors import EngineFailed
from appliance.gateway.direct_audio import DirectAudio
from appliance.gateway.frames import (
    ClientGreetingFrame,
    ClientInterruptionFrame,
    ClientQuestionFrame,
    ClientReplyFrame,
    ClientSettingsFrame,
    ClientStopFrame,
    ClientToolResultFrame,
    PauseTranscriptFrame,
    ReplyEndFrame,
    SpeechPausedFrame,
    SpeechResumedFrame,
    TranscribeUtteranceFrame,
)
from appliance.gateway.generation.client_tools import ClientTools, WaitHooks
from appliance.gateway.generation.history import Exchange, History
from appliance.gateway.generation.llm_adapter import UltravoxAdapter, pipecat_settings
from appliance.gateway.generation.prefetch import Prefetcher
from appliance.gateway.generation.reply import ReplyGenerator
from appliance.gateway.generation.speculation import Speculator
from appliance.gateway.generation.tool_executor import ToolExecutor
from appliance.gateway.generation.turn_callbacks import TurnCallbacks
from appliance.gateway.generation.turn_runner import TurnRunner
from appliance.gateway.generation.utterance_transcriber import UtteranceTranscriber
from appliance.gateway.generation.utterances import UtteranceCollector
from appliance.link.client import EngineClient
from appliance.link.engine import ChatMessage, Tool
from appliance.link.utterance import Utterance
from appliance.settings import LLMConfig
from appliance.tasks import spawn

# Longest wait for the report of what was heard of an interrupted reply. An interruption reaches the
# end of the pipeline, where that is known, within milliseconds.
HEARD_TIMEOUT_SECONDS = 0.5


class UltravoxWithContextService(DirectAudio, LLMService[UltravoxAdapter]):
    """One session's speech-LLM client.

    Only the appliance's tools are read from Pipecat's `context`; the conversation is kept in
    `History`, and the client's tools in `ClientTools`.
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
        self._collector = UtteranceCollector(config.pre_roll_seconds, config.max_utterance_seconds)
        self._history = History(
            config.system_prompt,
            config.history_tokens,
            config.history_turns,
            config.audio_turns,
        )
        self._prefetcher = Prefetcher(client, self._history, self._tools, speculator.others_waiting)
        self._client_tools = ClientTools(
            config.client_tool_seconds,
            self.push_frame,
            WaitHooks(
                begins=speculator.reply_audible,
                ends=speculator.reply_waiting,
                timed_out=callbacks.on_client_tool_timed_out,
            ),
        )
        self._tool_executor = ToolExecutor(self, context, self._client_tools)
        self._reply_generator = ReplyGenerator(
            config,
            speculator.generate,
            self._history,
            callbacks,
            self._tool_executor,
            self.push_frame,
        )
        self._turns = TurnRunner(
            self,
            self._reply_generator,
            self._history,
            self._prefetcher,
            speculator,
            callbacks,
            self._tools,
            transcripts=transcripts,
        )
        self._transcriber = UtteranceTranscriber(client, self._push_upstream)
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
        self._turns.hang_up()

    def client_tool_called(self) -> None:
        """Note that the client has got the call of its tool."""
        self._client_tools.sent()

    async def start(self, frame: StartFrame) -> None:
        """Prefill the system prompt before the user speaks."""
        await super().start(frame)
        self._prefetcher.prefill()

    async def cleanup(self) -> None:
        """Cancel the running turn and close the engine session."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._turns.close()
        await self._transcriber.close()
        await self._speculator.close()
        await self._prefetcher.close()
        await self._client.close()

    async def take_audio(self, frame: InputAudioRawFrame) -> None:
        """Collect audio. It ends here, because no later processor needs it."""
        if self._collector.add_audio(frame.audio):
            self._prefetcher.audio_added(self._collector)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Collect audio, start and cancel turns, and push all frames except audio and contexts."""
        await super().process_frame(frame, direction)
        match frame:
            case InputAudioRawFrame():
                await self.take_audio(frame)
                return
            case InterruptionFrame():
                self._heard_reported.clear()
                self._speculator.interrupted(self._collector.speaking)
                await self._turns.cancel()
            # The user's speech, from the first sound to the end of the turn
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
                    self._speculator.speech_dropped()
            case TranscribeUtteranceFrame():
                await self._transcriber.transcribe(frame.request, self._collector.current)
            case UserStoppedSpeakingFrame():
                await self._turn_ended()
            case RTVISendTextFrame():  # typed text
                await self._submit(Exchange(text=frame.text))
            # What a client of the Realtime protocol asks for
            case ClientQuestionFrame():
                await self._question_sent(frame)
                return
            case ClientStopFrame():
                await self._stop_bot(frame.number)
                return
            case ClientGreetingFrame():
                await self._greet(frame.response_id)
                return
            case ClientSettingsFrame():
                self._use_settings(frame)
                return
            case ClientToolResultFrame():
                self._client_tools.returned(frame.call_id, frame.text)
                self._history.set_result(frame.call_id, frame.text)
                return
            case ClientReplyFrame():
                await self._go_on(frame.response_id)
                return
            # Frames of Pipecat's own conversation
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
        """Return what the model may call. The prompt begins with the tools that never change."""
        own = self.get_llm_adapter().tools_of(self._context)
        return (*own, *self._client_tools.offered)

    def _speech_started(self, seconds_ago: float) -> None:
        self._speculator.speech_started()
        is_new = self._collector.current is None
        self._client.add(self._collector.speech_started(seconds_ago))
        self._prefetcher.audio_added(self._collector)
        if is_new and not self._prefetcher.turn_running:
            self._prefetcher.prefill()

    def _speech_resumed(self) -> None:
        self._speculator.speech_started()
        if self._collector.current is not None:
            self._collector.speech_started()
            self._prefetcher.audio_added(self._collector)

    def _utterance_may_be_complete(self) -> None:
        """Begin the reply to the utterance of a turn that has paused, or prefill it."""
        utterance = self._collector.current
        if utterance is None or self._collector.speaking or not self._collector.in_turn:
            return
        if not self._begin_early(utterance):
            self._prefetcher.prefill(ChatMessage("user", utterance=utterance.id))
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

        What the user has heard of an interrupted reply belongs to its conversation, so it is not
        begun before that is known.
        """
        if self._prefetcher.turn_running or not self._heard_reported.is_set():
            return False
        question = Exchange(utterances=(utterance,))
        if (unanswered := self._history.unanswered()) is not None:
            question = unanswered.joined(question, self._config.max_utterance_seconds)
        conversation = (*self._history.answered(), *question.question_messages())
        request = self._reply_generator.request(conversation, self._tools())
        return self._speculator.begin(request, utterance)

    def _use_settings(self, frame: ClientSettingsFrame) -> None:
        self._history.instruct(frame.instructions or self._config.system_prompt)
        self._client_tools.offer(frame.tools)
        self._speculator.use_voice(frame.voice)
        if not self._prefetcher.turn_running:
            self._prefetcher.prefill()

    async def _stop_bot(self, number: int) -> None:
        """Interrupt the bot as if the interruption came from a processor before this one."""
        await self._push_upstream(InterruptionFrame())
        interruption = ClientInterruptionFrame(number=number)
        await self.process_frame(interruption, FrameDirection.DOWNSTREAM)

    async def _greet(self, response_id: str) -> None:
        await self._wait_for_heard()
        self._callbacks.on_response_begun(response_id)
        await self.push_frame(TTSSpeakFrame(self._config.greeting))
        await self.push_frame(ReplyEndFrame())

    async def _go_on(self, response_id: str) -> None:
        """Go on with the reply that waits for the client, or reply to a result that came late.

        If there is no reply to give, the client gets an empty one.
        """
        await self._wait_for_heard()
        self._callbacks.on_response_begun(response_id)
        if self._client_tools.resume() or self._prefetcher.turn_running:
            return
        pending = self._history.pending()
        if pending is not None and pending.tool_calls and not self._collector.in_turn:
            self._turns.start(pending, joined=True)
        else:
            await self.push_frame(ReplyEndFrame())

    async def _question_sent(self, frame: ClientQuestionFrame) -> None:
        if frame.stop:
            await self._stop_bot(frame.stop)
        await self._wait_for_heard()
        self._callbacks.on_response_begun(frame.response_id)
        self._speculator.discard("changed")
        utterances = tuple(self._collector.whole(pcm) for pcm in frame.audio)
        for utterance in utterances:
            self._client.add(utterance)
        await self._submit(Exchange(text=frame.text, utterances=utterances))

    async def _wait_for_heard(self) -> None:
        """Wait until it is known what the user has heard of an interrupted reply.

        It belongs to the question before, so it must be in the history before the next question.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARD_TIMEOUT_SECONDS):
                await self._heard_reported.wait()

    async def _turn_ended(self) -> None:
        await self._wait_for_heard()  # a turn that starts late may end at once
        self._speculator.turn_ended()
        utterance = self._collector.turn_ended()
        if utterance is not None:
            await self._submit(Exchange(utterances=(utterance,)))
            return
        self._speculator.speech_dropped()
        self._callbacks.on_turn_dropped("too_short")
        if (pending := self._history.pending()) is not None:
            await self._turns.cancel()
            self._turns.start(pending, joined=True)  # a cough cancels no reply

    async def _submit(self, question: Exchange) -> None:
        """Start a turn. If the previous question got no reply, join the two."""
        kind = question.kind  # of the part that came last: the time of the turn is counted from it
        await self._turns.cancel()
        if (unanswered := self._history.pop_unanswered()) is not None:
            spoken = (*unanswered.utterances, *question.utterances)
            question = unanswered.joined(question, self._config.max_utterance_seconds)
            self._prefetcher.discard(each for each in spoken if each not in question.utterances)
        exchange = self._history.add(question.text, *question.utterances)
        self._turns.start(exchange, kind, joined=unanswered is not None)
