"""The responses of the bot as a Realtime client sees them, and the events about them. No I/O.

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
  before is the end of something else.
"""

from __future__ import annotations

from appliance.errors import NoResponseToCancel, ResponseInProgress
from appliance.gateway.realtime.client_events import RefusedEvent, ResponseCancel, ResponseCreate
from appliance.gateway.realtime.conversation import ConversationItems
from appliance.gateway.realtime.function_calls import FunctionCalls
from appliance.gateway.realtime.items import CallItem, Item, MessageItem
from appliance.gateway.realtime.server_events import (
    Event,
    Response,
    arguments,
    audio_delta,
    output_item,
    part,
)
from appliance.link.engine import OUTPUT_SAMPLE_RATE

BYTES_PER_SECOND = 2 * OUTPUT_SAMPLE_RATE


class Responses:
    """The response in progress of one session, if there is one.

    greeting     whether the bot has a greeting, which it has not said yet
    transcripts  whether the client gets texts
    """

    def __init__(
        self, conversation: ConversationItems, *, greeting: bool, transcripts: bool, beta: bool
    ) -> None:
        self._conversation = conversation
        self._transcripts = transcripts
        self._beta = beta
        self._response: Response | None = None
        self._said_before_call = ""  # in responses of this reply that ended with a call
        self._stops = 0  # of the client
        self._executed_stops = 0  # number of the latest of them that the pipeline has reported
        self._cut_off = False  # the bot was interrupted, and nothing has begun since
        self.calls = FunctionCalls()
        self.greeting = greeting
        self.has_spoken = False

    @property
    def is_in_progress(self) -> bool:
        """Whether a response is in progress."""
        return self._response is not None

    @property
    def _is_stopping(self) -> bool:
        """Whether a stop of the client was not reported yet. What the bot does is dropped."""
        return self._executed_stops < self._stops

    # --- the pipeline reports

    def reply_started(self) -> list[Event]:
        """The pipeline begins a reply."""
        self.calls.replied()
        if self._is_stopping:
            return []
        self._said_before_call = ""
        return self._reply_started()

    def response_begun(self, response_id: str) -> None:
        """The pipeline begins the response that the client has asked for."""
        if self._response is not None and self._response.id == response_id:
            self._response.begun = True

    def _reply_started(self) -> list[Event]:
        self._cut_off = False
        if self._response is not None and not self._response.notice:
            return []  # the client has asked for it, or the question has changed meanwhile
        new = Response(self._conversation.new_id("resp"))
        return [*self._finish("completed"), *self._begin(new)]

    def reply_failed(self, reason: str) -> None:
        """The engine has failed. `reply_ended` follows."""
        if self._response is not None and self._response.begun and not self._is_stopping:
            self._response.failed = reason

    def phrase(self, text: str) -> list[Event]:
        """A phrase of the bot begins; its audio follows."""
        if self._is_stopping:
            return []
        self._cut_off = False
        text = text.strip()
        if not text or not self._transcripts:
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
        if self._is_stopping or self._cut_off:
            return []
        self.has_spoken = True
        events, response, item = self._speaking()
        item.seconds += len(pcm) / BYTES_PER_SECOND
        return [*events, audio_delta(response, item, pcm)]

    def tool_called(self, call_id: str, name: str, parameters: str) -> list[Event]:
        """The model calls a tool of the client. `parameters` is the JSON text of its arguments."""
        if self._is_stopping:
            return []
        events = self._reply_started()
        response = self._response
        assert response is not None
        if response.item is not None:
            events += self._finish_item(response, response.item, "completed", None)
            self._said_before_call = " ".join([self._said_before_call, *response.words]).strip()
        call = CallItem(
            id=self._conversation.new_id("item"),
            status="in_progress",
            call_id=call_id,
            name=name,
            arguments=parameters,
        )
        response.call = call
        self.calls.called(call_id)
        added = output_item("response.output_item.added", response, call, self._beta)
        events += [added, self._conversation.add(call)]
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
        self.calls.replied()
        return [] if self._is_stopping else self._reply_started()

    def reply_ended(self, interrupted: bool, heard: str) -> list[Event]:
        """The bot has finished, or was interrupted. The user has heard the text `heard`."""
        self.calls.ended()
        if self._is_stopping:
            return []
        self._cut_off = self._cut_off or interrupted
        if self._response is not None and not self._response.begun:
            return []
        heard = heard.removeprefix(self._said_before_call).strip()
        return self._finish("cancelled" if interrupted else "completed", "turn_detected", heard)

    def notice_ended(self) -> list[Event]:
        """A notice was said. Within a response, it does not end the response."""
        response = self._response
        if response is None or not (response.notice and response.begun) or self._is_stopping:
            return []
        return self._finish("completed")

    def stopped(self, number: int) -> None:
        """The stop of the client with this number was executed, and all audio before is dropped."""
        self._executed_stops = max(self._executed_stops, number)
        self._cut_off = True

    # --- the client asks

    def check_none_in_progress(self) -> None:
        """Raise RefusedEvent if a response is in progress."""
        if self._response is not None:
            raise RefusedEvent(ResponseInProgress())

    def ask(self, event: ResponseCreate, *, notice: bool) -> tuple[str, list[Event]]:
        """Begin the response that the client asks for. Return its id and the events.

        `notice`: it is the greeting. The pipeline has not begun it yet; see `response_begun`.
        """
        response = Response(
            self._conversation.new_id("resp"), event.metadata, notice=notice, begun=False
        )
        return response.id, self._begin(response)

    def cancel(self, event: ResponseCancel) -> tuple[int, list[Event]]:
        """Stop the response in progress; see `stop`. Raises RefusedEvent if there is none."""
        if self._response is None or event.response_id not in ("", self._response.id):
            raise RefusedEvent(NoResponseToCancel())
        return self.stop()

    def stop(self) -> tuple[int, list[Event]]:
        """End the response in progress. Return the number of the stop and the events."""
        events = self._finish("cancelled", "client_cancelled")
        return self.next_stop(), events

    def next_stop(self) -> int:
        """Return the number of a new stop, which the pipeline has to execute."""
        self._stops += 1
        return self._stops

    # --- both

    def _begin(self, response: Response) -> list[Event]:
        self._response = response
        body = response.wire(self._conversation.id, "in_progress", self._beta)
        return [{"type": "response.created", "response": body}]

    def _speaking(self) -> tuple[list[Event], Response, MessageItem]:
        """Return the response and its item, and the events that begin them if they are new."""
        events: list[Event] = []
        response = self._response
        if response is None:
            self.greeting = False
            response = Response(self._conversation.new_id("resp"), notice=True)
            events += self._begin(response)
        if response.item is None:
            item = MessageItem(
                id=self._conversation.new_id("item"), role="assistant", status="in_progress"
            )
            response.item = item
            added = output_item("response.output_item.added", response, item, self._beta)
            events += [added, self._conversation.add(item)]
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
        body = response.wire(self._conversation.id, status, self._beta, reason)
        return [*events, {"type": "response.done", "response": body}]

    def _finish_item(
        self, response: Response, item: MessageItem, status: str, heard: str | None
    ) -> list[Event]:
        item.status = "completed" if status == "completed" else "incomplete"
        text = " ".join(response.words)
        item.transcript = text if status == "completed" or heard is None else heard
        if not self._transcripts:
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
        added = {"previous_item_id": item.previous, "item": item.wire(self._beta)}
        return [done, {"type": "conversation.item.done", **added}]
