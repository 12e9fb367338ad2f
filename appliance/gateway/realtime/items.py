"""The items of a conversation, as the client gets them. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal

from appliance.errors import NoSuchItem
from appliance.gateway.realtime.client_events import RefusedEvent, quoted

MAX_ITEMS = 256  # that a client can name; the oldest are forgotten

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


class Items:
    """The latest items of a conversation, in order. `last_id` is that of the last one, if any."""

    def __init__(self) -> None:
        self._items: OrderedDict[str, Item] = OrderedDict()
        self.last_id: str | None = None

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._items

    def add(self, item: Item) -> str | None:
        """Add an item after the last one. Return the id of the one that is forgotten, if any."""
        item.previous, self.last_id = self.last_id, item.id
        self._items[item.id] = item
        return self._items.popitem(last=False)[0] if len(self._items) > MAX_ITEMS else None

    def find(self, item_id: str) -> Item:
        """Return an item. Raises RefusedEvent if there is none with this id."""
        if item_id not in self._items:
            raise RefusedEvent(NoSuchItem(item=quoted(item_id)), param="item_id")
        return self._items[item_id]

    def remove(self, item_id: str) -> None:
        """Remove an item."""
        del self._items[item_id]
        if self.last_id == item_id:
            self.last_id = next(reversed(self._items), None)
