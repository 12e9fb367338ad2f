"""The calls of the client's tools: which one waits, and which were interrupted. No I/O."""

from __future__ import annotations

from collections import deque

from appliance.errors import NoSuchCall
from appliance.gateway.realtime.client_events import RefusedEvent, quoted

MAX_INTERRUPTED = 16  # calls whose outputs are still taken; the oldest are forgotten


class FunctionCalls:
    """The calls of one session. The model makes one at a time."""

    def __init__(self) -> None:
        self._waiting = ""  # the call that the reply waits for
        self._interrupted: deque[str] = deque(maxlen=MAX_INTERRUPTED)
        self._returned = False  # an output has come, and no reply to it was asked for yet

    @property
    def waits(self) -> bool:
        """Whether a reply waits for the client."""
        return bool(self._waiting)

    @property
    def returned(self) -> bool:
        """Whether there is an output that was not replied to."""
        return self._returned

    def called(self, call_id: str) -> None:
        """Note that the client gets a call."""
        self._waiting, self._returned = call_id, False

    def ended(self) -> None:
        """Note that the reply has ended. The output of its call is still taken, for later ones."""
        if self._waiting and not self._returned:
            self._interrupted.append(self._waiting)
        self._waiting = ""

    def replied(self) -> None:
        """Note that the model replies, and sees the outputs that have come."""
        self._waiting, self._returned = "", False

    def take(self, call_id: str) -> None:
        """Take the output of a call. Raises RefusedEvent if it is unknown or has one already."""
        if call_id == self._waiting and not self._returned:
            self._returned = True
        elif call_id in self._interrupted:
            self._interrupted.remove(call_id)
            self._returned = True
        else:
            raise RefusedEvent(NoSuchCall(call=quoted(call_id)), param="item.call_id")
