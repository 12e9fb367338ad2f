"""One Realtime session as its client sees it, put together from its parts. No I/O.

The pipeline reports to the parts what happens, and `handle` takes the events of the client. Each
method returns the events for the client, in order. The parts are:

    user_input    what the user says and types: input_audio_buffer.*
    responses     what the bot says: response.*
    conversation  the items of both: conversation.item.*

The conversation that the model sees is kept in generation/history.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pipecat.frames.frames import Frame

from appliance.errors import InvalidValue, NothingToAnswer
from appliance.gateway.frames import (
    ClientGreetingFrame,
    ClientQuestionFrame,
    ClientReplyFrame,
    ClientSettingsFrame,
    ClientStopFrame,
    ClientToolResultFrame,
)
from appliance.gateway.realtime import client_events as received
from appliance.gateway.realtime.client_events import RefusedEvent, not_supported
from appliance.gateway.realtime.config import SessionConfig
from appliance.gateway.realtime.conversation import ConversationItems
from appliance.gateway.realtime.items import MessageItem, OutputItem
from appliance.gateway.realtime.questions import Questions
from appliance.gateway.realtime.responses import Responses
from appliance.gateway.realtime.server_events import Event
from appliance.gateway.realtime.user_input import UserInput
from appliance.link.engine import Tool

Outcome = tuple[list[Event], Frame | None]  # for the client, and for the pipeline


class RealtimeState:
    """The state of one session.

    name        of the session, for the identifiers
    config      the effective settings
    expires_at  when the session ends at the latest, in seconds since 1970
    beta        whether the client asked for the beta version of the protocol
    resample    converts a whole piece of 24 kHz PCM to 16 kHz
    greeting    whether the bot has a greeting, which it has not said yet
    """

    def __init__(
        self,
        name: str,
        config: SessionConfig,
        expires_at: int,
        max_question_seconds: float,
        resample: Callable[[bytes], bytes],
        *,
        beta: bool = False,
        greeting: bool = False,
    ) -> None:
        self._name = name
        self.config = config
        self._expires_at = expires_at
        self._beta = beta
        self._questions = Questions(max_question_seconds)
        self._conversation = ConversationItems(name, beta, on_forget=self._questions.drop)
        transcripts = config.transcripts  # no client can change this
        self.user_input = UserInput(self._conversation, self._questions, resample, transcripts)
        self.responses = Responses(
            self._conversation, greeting=greeting, transcripts=transcripts, beta=beta
        )

    def opened(self) -> list[Event]:
        """The session begins."""
        events: list[Event] = [{"type": "session.created", "session": self._session()}]
        if self._beta:
            conversation = {"id": self._conversation.id, "object": "realtime.conversation"}
            events.append({"type": "conversation.created", "conversation": conversation})
        return events

    def reply_started(self, spoken: bool) -> list[Event]:
        """The pipeline begins a reply. `spoken`: to what the user has just said."""
        stopped = self.user_input.speech_stopped() if spoken else []
        return [*stopped, *self.responses.reply_started()]

    def greets(self) -> bool:
        """Whether the bot greets now: at the first audio, as no client says that it is ready."""
        responses = self.responses
        greets = responses.greeting and not self.config.manual and not responses.is_in_progress
        responses.greeting = responses.greeting and not greets
        return greets

    def append(self, pcm: bytes) -> bytes:
        """Take 16 kHz PCM of the client. Return what the pipeline gets. Raises RefusedEvent."""
        return self.user_input.append(pcm, self.config.manual)

    def handle(self, event: received.ClientEvent) -> Outcome:
        """Return the events and the frame that follow from an event. Raises RefusedEvent."""
        match event:
            case received.SessionUpdate():
                return self._update(event)
            case received.AudioCommit():
                if not self.config.manual:
                    raise not_supported("input_audio_buffer.commit while turn detection is on")
                return self.user_input.commit(), None
            case received.AudioClear():
                return self.user_input.clear(), None
            case received.ItemCreate():
                return self.user_input.create_item(event), None
            case received.OutputCreate():
                return self._create_output(event)
            case received.ItemTruncate():
                return self._truncate(event)
            case received.ItemRetrieve():
                return self._conversation.retrieve(event.item_id), None
            case received.ItemDelete():
                return self.user_input.delete_item(event.item_id), None
            case received.ResponseCreate():
                return self._respond(event)
            case received.ResponseCancel():
                number, events = self.responses.cancel(event)
                return events, ClientStopFrame(number)
        raise TypeError(type(event).__name__)

    def _update(self, event: received.SessionUpdate) -> Outcome:
        before = self.config
        self.config = config = before.updated(event.session, self.responses.has_spoken)
        if before.manual and not config.manual:
            self._questions.clear()
        updated: list[Event] = [{"type": "session.updated", "session": self._session()}]
        if _pipeline_settings(config) == _pipeline_settings(before):
            return updated, None
        return updated, ClientSettingsFrame(*_pipeline_settings(config))

    def _create_output(self, event: received.OutputCreate) -> Outcome:
        item_id = self._conversation.id_for(event)
        item = OutputItem(id=item_id, call_id=event.call_id, output=event.output)
        self.responses.calls.take(event.call_id)
        events = self._conversation.add_complete(item)
        return events, ClientToolResultFrame(event.call_id, event.output)

    def _truncate(self, event: received.ItemTruncate) -> Outcome:
        """Confirm what the user has heard of a message. One in progress is stopped.

        The Agents SDK sends no more than this when its application interrupts the bot.
        """
        item = self._conversation.find(event.item_id)
        if not isinstance(item, MessageItem) or item.role != "assistant":
            raise received.invalid("only messages of the assistant can be truncated", "item_id")
        if event.content_index != 0:
            what = "the message has only the part 0"
            raise RefusedEvent(InvalidValue(what=what), param="content_index")
        milliseconds = math.ceil(1000 * item.seconds)
        if event.audio_end_ms > milliseconds:
            what = f"the message has {milliseconds} ms of audio, less than {event.audio_end_ms} ms"
            raise RefusedEvent(InvalidValue(what=what), param="audio_end_ms")
        truncated = {
            "type": "conversation.item.truncated",
            "item_id": item.id,
            "content_index": event.content_index,
            "audio_end_ms": event.audio_end_ms,
        }
        if item.status != "in_progress":
            return [truncated], None
        number, events = self.responses.stop()
        return [*events, truncated], ClientStopFrame(number)

    def _respond(self, event: received.ResponseCreate) -> Outcome:
        """Ask the pipeline for a reply: to a tool's output, with the greeting, or to a question."""
        responses, calls = self.responses, self.responses.calls
        responses.check_none_in_progress()
        goes_on = calls.returned and not self._questions
        greet = responses.greeting and not goes_on and not self._questions
        if not (goes_on or greet or self._questions):
            raise RefusedEvent(NothingToAnswer())
        response_id, events = responses.ask(event, notice=greet)
        stop = 0
        if calls.waits and not goes_on:
            calls.ended()
            stop = responses.next_stop()
        calls.replied()
        responses.greeting = False
        if goes_on:
            return events, ClientReplyFrame(response_id)
        if greet:
            return events, ClientGreetingFrame(response_id)
        return events, ClientQuestionFrame(*self._questions.take(), stop, response_id)

    def _session(self) -> Event:
        return self.config.session(f"sess_{self._name}", self._expires_at, self._beta)


def _pipeline_settings(config: SessionConfig) -> tuple[str, str, tuple[Tool, ...]]:
    return config.instructions, config.voice, config.offered_tools
