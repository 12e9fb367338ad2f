"""The WebSocket of a session, which tells the client why the session ends."""

from __future__ import annotations

import contextlib

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from appliance.errors import SessionEnded

MAX_CLOSE_REASON_CHARS = 120  # the WebSocket limit is 123 bytes


class SessionSocket(WebSocket):
    """The client's WebSocket. `close` may be called repeatedly; the first call closes it."""

    ending: SessionEnded | None = None

    async def send_event(self, text: str) -> None:
        """Send a text message, unless the WebSocket is closed."""
        if self.application_state == WebSocketState.CONNECTED:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # the client has closed it
                await self.send_text(text)

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the WebSocket, with the code and reason of `ending` if it is set."""
        if self.application_state == WebSocketState.DISCONNECTED:
            return
        if self.ending is not None:
            code = self.ending.close_code
            reason = f"{self.ending.reason}: {self.ending}"[:MAX_CLOSE_REASON_CHARS]
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # the client has closed it
            await super().close(code, reason)
