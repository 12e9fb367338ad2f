"""The items of a conversation, as the client gets them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["in_progress", "completed", "incomplete"]


@dataclass(slots=True, kw_only=True)
class Item:
    """What all items have. `previous` is the item before it."""

    id: str
    status: Status = "completed"
    previous: str | None = None

    def wire(self, beta: bool = False) -> dict[str, Any]:
        """Return the item as the client gets it."""
        return {"id": self.id, "object": "realtime.item", "status": self.status}


@dataclass(slots=True, kw_only=True)
class MessageItem(Item):
    """A message. Audio is not kept here.

    text        typed by the user
    transcript  of the audio; None if it is not known, or may not be shown
    has_audio   whether it was spoken
    seconds     of the audio of a question, with the silence that ended it, or of the audio that
                was sent of the bot
    """

    role: Literal["user", "assistant"]
    text: str = ""
    transcript: str | None = None
    has_audio: bool = False
    seconds: float = 0.0

    def wire(self, beta: bool = False) -> dict[str, Any]:
        content: list[dict[str, Any]] = []
        if self.text:
            content.append({"type": "input_text", "text": self.text})
        if self.has_audio:
            kind = "input_audio" if self.role == "user" else ("audio" if beta else "output_audio")
            content.append({"type": kind, "transcript": self.transcript})
        return Item.wire(self) | {"type": "message", "role": self.role, "content": content}


@dataclass(slots=True, kw_only=True)
class CallItem(Item):
    """The model calls a tool of the client. `arguments` is the JSON text of an object."""

    call_id: str
    name: str
    arguments: str

    def wire(self, beta: bool = False) -> dict[str, Any]:
        return Item.wire(self) | {
            "type": "function_call",
            "call_id": self.call_id,
            "name": self.name,
            "arguments": "" if self.status == "in_progress" else self.arguments,
        }


@dataclass(slots=True, kw_only=True)
class OutputItem(Item):
    """What a tool of the client has returned."""

    call_id: str
    output: str

    def wire(self, beta: bool = False) -> dict[str, Any]:
        return Item.wire(self) | {
            "type": "function_call_output",
            "call_id": self.call_id,
            "output": self.output,
        }
