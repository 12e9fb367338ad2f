"""The conversation as a Realtime client sees it: items, responses and the audio buffer. No I/O.

The pipeline reports what happens, the client sends its events. Each method returns the events for
the client, in order. The conversation that the model sees is kept in history.py.

A response begins when a reply is asked for, and is done when its last audio was played, or when it
is interrupted. So `response.done` comes later than from OpenAI's service. A call of a tool of the
client also ends a response: for the pipeline the reply goes on, and for the client the rest of it
is another response.

The client and the pipeline run side by side, so a report can be about something that the client has
stopped already, or about something before its question. Two rules keep them apart:

- A stop of the client has a number. Until the pipeline has reported it, every report about the bot
  is about what was stopped, and is dropped. The pipeline executes the frames in order, and begins
  no reply before the interruption before it was reported.
- A response that the client asked for begins when the pipeline says so. An end that was reported
  before is that of something else.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pipecat.frames.frames import Frame

from appliance.errors import (
    InvalidValue,
    NoResponseToCancel,
    NothingToAnswer,
    ResponseInProgress,
)
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
from appliance.gateway.realtime.function_calls import FunctionCalls
from appliance.gateway.realtime.items import CallItem, Item, Items, MessageItem, OutputItem
from appliance.gateway.realtime.questions import BYTES_PER_SECOND, Questions
from appliance.gateway.realtime.server_events import (
    Event,
    Response,
    arguments,
    audio_delta,
    output_item,
    part,
)
from appliance.link.engine import OUTPUT_SAMPLE_RATE, Tool

OUTPUT_BYTES_PER_SECOND = 2 * OUTPUT_SAMPLE_RATE

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
        self._resample = resample
        self._beta = beta
        self._greeting = greeting
        self._questions = Questions(max_question_seconds)
        self._calls = FunctionCalls()
        self._items = Items()
        self._count = 0
        self._heard_bytes = 0  # of the client's audio, at 16 kHz
        self._speech_bytes = 0  # the same when the latest speech began
        self._speech: MessageItem | None = None  # the user speaks
        self._spoken: MessageItem | None = None  # the latest question with audio
        self._response: Response | None = None
        self._has_spoken = False  # the bot
        self._said = ""  # of the reply, in responses that ended with a call
        self._stops = 0  # of the client
        self._stopped = 0  # number of the latest of them that the pipeline has reported
        self._cut_off = False  # the bot was interrupted, and nothing has begun since

    # --- the pipeline reports

    def opened(self) -> list[Event]:
        """The session begins."""
        events: list[Event] = [{"type": "session.created", "session": self._session()}]
        if self._beta:
            conversation = {"id": self._conversation, "object": "realtime.conversation"}
            events.append({"type": "conversation.created", "conversation": conversation})
        return events

    def user_started(self) -> list[Event]:
        """A turn of the user has begun."""
        self._speech = MessageItem(id=self._new_id("item"), role="user", has_audio=True)
        self._speech_bytes = self._heard_bytes
        return [self._speech_event("speech_started", "audio_start_ms", self._speech)]

    def user_stopped(self) -> list[Event]:
        """The turn of the user has ended."""
        item, self._speech = self._speech, None
        if item is None:
            return []
        item.seconds = (self._heard_bytes - self._speech_bytes) / BYTES_PER_SECOND
        return [self._speech_event("speech_stopped", "audio_end_ms", item), *self._committed(item)]

    def transcribed(self, text: str) -> list[Event]:
        """The words of the latest spoken question are known."""
        item = self._spoken
        if item is None or not self.config.transcripts:
            return []
        item.transcript = text
        return [
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "item_id": item.id,
                "content_index": 1 if item.text else 0,
                "transcript": text,
                "usage": {"type": "duration", "seconds": round(item.seconds, 3)},
            }
        ]

    def reply_started(self, spoken: bool) -> list[Event]:
        """The pipeline begins a reply. `spoken`: to what the user has just said."""
        self._calls.replied()
        stopped = self.user_stopped() if spoken else []
        if self._stopping:
            return stopped
        self._said = ""
        return [*stopped, *self._reply_started()]

    def asked(self, response_id: str) -> None:
        """The pipeline begins what the client has asked for with this response."""
        if self._response is not None and self._response.id == response_id:
            self._response.begun = True

    def _reply_started(self) -> list[Event]:
        self._cut_off = False
        if self._response is not None and not self._response.notice:
            return []  # the client has asked for it, or the question has changed meanwhile
        return [*self._finish("completed"), *self._begin(Response(self._new_id("resp")))]

    def reply_failed(self, reason: str) -> None:
        """The engine has failed. `reply_ended` follows."""
        if self._response is not None and self._response.begun and not self._stopping:
            self._response.failed = reason

    def phrase(self, text: str) -> list[Event]:
        """A phrase of the bot begins; its audio follows."""
        if self._stopping:
            return []
        self._cut_off = False
        text = text.strip()
        if not text or not self.config.transcripts:
            return []
        events, response, item = self._speaking()
        delta = f" {text}" if response.words else text
        response.words.append(text)
        return [
            *events,
            part("response.output_audio_transcript.delta", response, item, delta=delta),
        ]

    def audio(self, pcm: bytes) -> list[Event]:
        """24 kHz PCM of the bot is to be played."""
        if self._stopping or self._cut_off:
            return []
        self._has_spoken = True
        events, response, item = self._speaking()
        item.seconds += len(pcm) / OUTPUT_BYTES_PER_SECOND
        return [*events, audio_delta(response, item, pcm)]

    def tool_called(self, call_id: str, name: str, parameters: str) -> list[Event]:
        """The model calls a tool of the client. `parameters` is the JSON text of its arguments."""
        if self._stopping:
            return []
        events = self._reply_started()
        response = self._response
        assert response is not None
        if response.item is not None:
            events += self._finish_item(response, response.item, "completed", None)
            self._said = " ".join([self._said, *response.words]).strip()
        call = CallItem(
            id=self._new_id("item"),
            status="in_progress",
            call_id=call_id,
            name=name,
            arguments=parameters,
        )
        response.call = call
        self._calls.called(call_id)
        added = output_item("response.output_item.added", response, call, self._beta)
        events += [added, self._keep(call)]
        call.status = "completed"
        done = {"name": name, "arguments": parameters}
        return [
            *events,
            arguments("response.function_call_arguments.delta", response, call, delta=parameters),
            arguments("response.function_call_arguments.done", response, call, **done),
            *self._item_done(response, call),
            *self._finish("completed"),
        ]

    def tool_timed_out(self) -> list[Event]:
        """The reply goes on without the result of the client's tool."""
        self._calls.replied()
        return [] if self._stopping else self._reply_started()

    def reply_ended(self, interrupted: bool, heard: str) -> list[Event]:
        """The bot has finished, or was interrupted. The user has heard the text `heard`."""
        self._calls.ended()
        if self._stopping:
            return []
        self._cut_off = self._cut_off or interrupted
        if self._response is not None and not self._response.begun:
            return []
        heard = heard.removeprefix(self._said).strip()
        return self._finish("cancelled" if interrupted else "completed", "turn_detected", heard)

    def notice_ended(self) -> list[Event]:
        """A notice was said. Within a response, it does not end the response."""
        response = self._response
        if response is None or not (response.notice and response.begun) or self._stopping:
            return []
        return self._finish("completed")

    def stopped(self, number: int) -> None:
        """The stop of the client with this number was executed, and all audio before is dropped."""
        self._stopped = max(self._stopped, number)
        self._cut_off = True

    # --- the client sends

    def greets(self) -> bool:
        """Whether the bot greets now: at the first audio, as no client says that it is ready."""
        greets = self._greeting and not self.config.manual and self._response is None
        self._greeting = self._greeting and not greets
        return greets

    def append(self, pcm: bytes) -> bytes:
        """Take 16 kHz PCM of the client. Return what the pipeline gets. Raises RefusedEvent."""
        self._heard_bytes += len(pcm)
        if not self.config.manual:
            return pcm
        self._questions.append(pcm)
        return b""

    def handle(self, event: received.ClientEvent) -> Outcome:
        """Return the events and the frame that follow from an event. Raises RefusedEvent."""
        match event:
            case received.SessionUpdate():
                return self._update(event)
            case received.AudioCommit():
                return self._commit(), None
            case received.AudioClear():
                self._questions.clear()
                return [{"type": "input_audio_buffer.cleared"}], None
            case received.ItemCreate():
                return self._create_item(event), None
            case received.OutputCreate():
                return self._create_output(event)
            case received.ItemTruncate():
                return self._truncate(event)
            case received.ItemRetrieve():
                item = self._items.find(event.item_id).wire(self._beta)
                return [{"type": "conversation.item.retrieved", "item": item}], None
            case received.ItemDelete():
                return self._delete(event), None
            case received.ResponseCreate():
                return self._respond(event)
            case received.ResponseCancel():
                return self._cancel(event)
        raise TypeError(type(event).__name__)

    def _update(self, event: received.SessionUpdate) -> Outcome:
        before = self.config
        self.config = config = before.updated(event.session, self._has_spoken)
        if before.manual and not config.manual:
            self._questions.clear()
        updated: list[Event] = [{"type": "session.updated", "session": self._session()}]
        if _pipeline_settings(config) == _pipeline_settings(before):
            return updated, None
        return updated, ClientSettingsFrame(*_pipeline_settings(config))

    def _commit(self) -> list[Event]:
        if not self.config.manual:
            raise not_supported("input_audio_buffer.commit while turn detection is on")
        item = MessageItem(id=self._new_id("item"), role="user", has_audio=True)
        item.seconds = self._questions.commit(item.id)
        return self._committed(item)

    def _create_item(self, event: received.ItemCreate) -> list[Event]:
        item = MessageItem(
            id=self._id_for(event),
            role="user",
            text=event.text,
            has_audio=bool(event.pcm),
        )
        pcm = self._resample(event.pcm) if event.pcm else b""
        self._questions.add(item.id, event.text, pcm)
        if item.has_audio:
            item.seconds = len(pcm) / BYTES_PER_SECOND
            self._spoken = item
        return self._added(item)

    def _create_output(self, event: received.OutputCreate) -> Outcome:
        item = OutputItem(id=self._id_for(event), call_id=event.call_id, output=event.output)
        self._calls.take(event.call_id)
        return self._added(item), ClientToolResultFrame(event.call_id, event.output)

    def _id_for(self, event: received.ItemCreate | received.OutputCreate) -> str:
        """Return the id of an item that the client adds. Raises RefusedEvent."""
        if event.after is not None and event.after != self._items.last_id:
            raise not_supported("items before the last one", "previous_item_id")
        if event.item_id in self._items:
            raise received.invalid("the id is taken", "item.id")
        return event.item_id or self._new_id("item")

    def _truncate(self, event: received.ItemTruncate) -> Outcome:
        """Confirm what the user has heard of a message. One in progress is stopped.

        The Agents SDK sends no more than this when its application interrupts the bot.
        """
        item = self._items.find(event.item_id)
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
        events, frame = self._stop()
        return [*events, truncated], frame

    def _delete(self, event: received.ItemDelete) -> list[Event]:
        item = self._items.find(event.item_id)
        if not self._questions.drop(item.id):
            raise not_supported("deleting what was said already", "item_id")
        self._items.remove(item.id)
        return [{"type": "conversation.item.deleted", "item_id": item.id}]

    def _respond(self, event: received.ResponseCreate) -> Outcome:
        if self._response is not None:
            raise RefusedEvent(ResponseInProgress())
        goes_on = self._calls.returned and not self._questions
        greet = self._greeting and not goes_on and not self._questions
        if not (goes_on or greet or self._questions):
            raise RefusedEvent(NothingToAnswer())
        response = Response(self._new_id("resp"), event.metadata, notice=greet, begun=False)
        events = self._begin(response)
        stop = 0
        if self._calls.waits and not goes_on:
            self._calls.ended()
            self._stops += 1
            stop = self._stops
        self._calls.replied()
        self._greeting = False
        if goes_on:
            return events, ClientReplyFrame(response.id)
        if greet:
            return events, ClientGreetingFrame(response.id)
        return events, ClientQuestionFrame(*self._questions.take(), stop, response.id)

    def _cancel(self, event: received.ResponseCancel) -> Outcome:
        if self._response is None or event.response_id not in ("", self._response.id):
            raise RefusedEvent(NoResponseToCancel())
        return self._stop()

    def _stop(self) -> Outcome:
        """End the response in progress because the client wants that."""
        events = self._finish("cancelled", "client_cancelled")
        self._stops += 1
        return events, ClientStopFrame(self._stops)

    # --- both

    @property
    def _stopping(self) -> bool:
        """Whether a stop of the client was not reported yet. What the bot does is dropped."""
        return self._stopped < self._stops

    @property
    def _conversation(self) -> str:
        return f"conv_{self._name}"

    def _session(self) -> Event:
        return self.config.session(f"sess_{self._name}", self._expires_at, self._beta)

    def _new_id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._name}_{self._count}"

    def _speech_event(self, kind: str, field: str, item: MessageItem) -> Event:
        milliseconds = 1000 * self._heard_bytes // BYTES_PER_SECOND
        return {"type": f"input_audio_buffer.{kind}", field: milliseconds, "item_id": item.id}

    def _committed(self, item: MessageItem) -> list[Event]:
        self._spoken = item
        committed = {
            "type": "input_audio_buffer.committed",
            "item_id": item.id,
            "previous_item_id": self._items.last_id,
        }
        return [committed, *self._added(item)]

    def _added(self, item: Item) -> list[Event]:
        added = self._keep(item)
        return [added, {**added, "type": "conversation.item.done"}]

    def _keep(self, item: Item) -> Event:
        """Add an item to the conversation. Return the event about it."""
        if (forgotten := self._items.add(item)) is not None:
            self._questions.drop(forgotten)
        return {
            "type": "conversation.item.added",
            "previous_item_id": item.previous,
            "item": item.wire(self._beta),
        }

    def _begin(self, response: Response) -> list[Event]:
        self._response = response
        body = response.wire(self._conversation, "in_progress", self._beta)
        return [{"type": "response.created", "response": body}]

    def _speaking(self) -> tuple[list[Event], Response, MessageItem]:
        """Return the response and its item, and the events that begin them if they are new."""
        events: list[Event] = []
        response = self._response
        if response is None:
            self._greeting = False
            response = Response(self._new_id("resp"), notice=True)
            events += self._begin(response)
        if response.item is None:
            item = MessageItem(id=self._new_id("item"), role="assistant", status="in_progress")
            response.item = item
            added = output_item("response.output_item.added", response, item, self._beta)
            events += [added, self._keep(item)]
            empty = {"type": "audio", "transcript": ""}
            events.append(part("response.content_part.added", response, item, part=empty))
            item.has_audio = True
        return events, response, response.item

    def _finish(self, status: str, reason: str = "", heard: str | None = None) -> list[Event]:
        """End the response in progress, if there is one."""
        response, self._response = self._response, None
        if response is None:
            return []
        if response.failed and status == "completed":
            status, reason = "failed", response.failed
        events: list[Event] = []
        if response.item is not None and response.item.status == "in_progress":
            events = self._finish_item(response, response.item, status, heard)
        body = response.wire(self._conversation, status, self._beta, reason)
        return [*events, {"type": "response.done", "response": body}]

    def _finish_item(
        self, response: Response, item: MessageItem, status: str, heard: str | None
    ) -> list[Event]:
        item.status = "completed" if status == "completed" else "incomplete"
        text = " ".join(response.words)
        item.transcript = text if status == "completed" or heard is None else heard
        if not self.config.transcripts:
            text, item.transcript = "", None
        spoken = {"type": "audio", "transcript": text}
        return [
            part("response.output_audio.done", response, item),
            part("response.output_audio_transcript.done", response, item, transcript=text),
            part("response.content_part.done", response, item, part=spoken),
            *self._item_done(response, item),
        ]

    def _item_done(self, response: Response, item: Item) -> list[Event]:
        done = output_item("response.output_item.done", response, item, self._beta)
        kept = {"previous_item_id": item.previous, "item": item.wire(self._beta)}
        return [done, {"type": "conversation.item.done", **kept}]


def _pipeline_settings(config: SessionConfig) -> tuple[str, str, tuple[Tool, ...]]:
    return config.instructions, config.voice, config.offered_tools
