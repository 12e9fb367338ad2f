"""Builds the events of the gateway in the OpenAI Realtime protocol. No I/O.

An event is a dictionary. `encode` makes JSON of it, with the names of the beta version for a client
that asked for that.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.gateway.realtime.items import CallItem, Item, MessageItem

Event = dict[str, Any]

BETA_NAMES: Mapping[str, str] = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "conversation.item.added": "conversation.item.created",
}
GA_ONLY = ("conversation.item.done",)


@dataclass(slots=True)
class Response:
    """A response of the bot.

    item      the message that is spoken, once it has begun
    call      the call of a tool of the client that ends the response
    notice    whether nobody asked for it, such as a greeting
    begun     whether the pipeline has begun it: what ended before was something else
    failed    the reason if the engine failed
    """

    id: str
    metadata: Mapping[str, str] | None = None
    item: MessageItem | None = None
    call: CallItem | None = None
    notice: bool = False
    begun: bool = True
    failed: str = ""
    words: list[str] = field(default_factory=list)

    @property
    def output(self) -> list[Item]:
        """The items of the response."""
        return [item for item in (self.item, self.call) if item is not None]

    def wire(self, conversation_id: str, status: str, beta: bool, reason: str = "") -> Event:
        """Return the response as the client gets it."""
        details: Event | None = None
        if status != "in_progress" and status != "completed":
            details = {"type": status}
            if status == "failed":
                message = "The appliance could not reply."
                details["error"] = {"type": "server_error", "code": reason, "message": message}
            else:
                details["reason"] = reason
        output = self.output if status != "in_progress" else []
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": [item.wire(beta) for item in output],
            "conversation_id": conversation_id,
            "metadata": self.metadata,
            "usage": None,
            **({"modalities": ["audio", "text"]} if beta else {"output_modalities": ["audio"]}),
        }


def audio_delta(response: Response, item: MessageItem, pcm: bytes) -> Event:
    """Return the event with a piece of 24 kHz mono int16 PCM."""
    delta = base64.b64encode(pcm).decode()
    return part("response.output_audio.delta", response, item, delta=delta)


def part(kind: str, response: Response, item: MessageItem, **fields: Any) -> Event:
    """Return an event about the only content part of a response's message, its first item."""
    return {
        "type": kind,
        "response_id": response.id,
        "item_id": item.id,
        "output_index": 0,
        "content_index": 0,
        **fields,
    }


def arguments(kind: str, response: Response, call: CallItem, **fields: Any) -> Event:
    """Return an event about the arguments of a response's call, its last item."""
    return {
        "type": kind,
        "response_id": response.id,
        "item_id": call.id,
        "output_index": response.output.index(call),
        "call_id": call.call_id,
        **fields,
    }


def output_item(kind: str, response: Response, item: Item, beta: bool) -> Event:
    """Return the event that an item of a response begins or is complete."""
    return {
        "type": kind,
        "response_id": response.id,
        "output_index": response.output.index(item),
        "item": item.wire(beta),
    }


def error(message: str, code: str, param: str = "", event_id: str = "", advice: str = "") -> Event:
    """Return the event that tells the client what was refused, and what to do."""
    return {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "code": code,
            "message": f"{message} {advice}".strip(),
            "param": param or None,
            "event_id": event_id or None,
        },
    }


def encode(event: Event, number: int, beta: bool) -> str | None:
    """Return the JSON of an event, or None if this version of the protocol does not have it."""
    kind = event["type"]
    if beta:
        if kind in GA_ONLY:
            return None
        kind = BETA_NAMES.get(kind, kind)
    return json.dumps({"event_id": f"event_{number}", **event, "type": kind})
