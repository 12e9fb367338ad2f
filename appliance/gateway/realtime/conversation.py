"""The conversation of a Realtime client: its items in order, and the events about them. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from appliance.errors import NoSuchItem
from appliance.gateway.realtime.client_events import (
    ItemCreate,
    OutputCreate,
    RefusedEvent,
    invalid,
    not_supported,
    quoted,
)
from appliance.gateway.realtime.items import Item
from appliance.gateway.realtime.server_events import Event

MAX_ITEMS = 256  # that a client can name; the oldest are forgotten


class ConversationItems:
    """The latest items of one session.

    session    the name of the session, for the identifiers
    on_forget  called with the id of an item that is forgotten because there are too many
    """

    def __init__(self, session: str, beta: bool, on_forget: Callable[[str], object]) -> None:
        self._session = session
        self._beta = beta
        self._on_forget = on_forget
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._count = 0
        self.last_id: str | None = None  # of the last item

    @property
    def id(self) -> str:
        """The name of the conversation on the wire."""
        return f"conv_{self._session}"

    def new_id(self, kind: str) -> str:
        """Return a new identifier of an item ("item") or a response ("resp")."""
        self._count += 1
        return f"{kind}_{self._session}_{self._count}"

    def id_for(self, event: ItemCreate | OutputCreate) -> str:
        """Return the id of an item that the client adds. Raises RefusedEvent."""
        if event.after is not None and event.after != self.last_id:
            raise not_supported("items before the last one", "previous_item_id")
        if event.item_id in self._items:
            raise invalid("the id is taken", "item.id")
        return event.item_id or self.new_id("item")

    def find(self, item_id: str) -> Item:
        """Return an item. Raises RefusedEvent if there is none with this id."""
        if item_id not in self._items:
            raise RefusedEvent(NoSuchItem(item=quoted(item_id)), param="item_id")
        return self._items[item_id]

    def add(self, item: Item) -> Event:
        """Add an item after the last one. Return the event about it."""
        item.previous, self.last_id = self.last_id, item.id
        self._items[item.id] = item
        if len(self._items) > MAX_ITEMS:
            self._on_forget(self._items.popitem(last=False)[0])
        return {
            "type": "conversation.item.added",
            "previous_item_id": item.previous,
            "item": item.wire(self._beta),
        }

    def add_complete(self, item: Item) -> list[Event]:
        """Add an item that does not change any more. Return the events about it."""
        added = self.add(item)
        return [added, {**added, "type": "conversation.item.done"}]

    def retrieve(self, item_id: str) -> list[Event]:
        """Return the event with an item. Raises RefusedEvent."""
        item = self.find(item_id).wire(self._beta)
        return [{"type": "conversation.item.retrieved", "item": item}]

    def remove(self, item_id: str) -> list[Event]:
        """Remove an item. Return the event about it."""
        del self._items[item_id]
        if self.last_id == item_id:
            self.last_id = next(reversed(self._items), None)
        return [{"type": "conversation.item.deleted", "item_id": item_id}]
