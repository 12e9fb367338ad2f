"""A tab of a browser that is driven by JSON messages over a WebSocket: what its protocols share."""

from __future__ import annotations

import asyncio
import itertools
import json
from abc import ABC, abstractmethod
from typing import Any

from websockets.asyncio.client import ClientConnection

WAIT_SECONDS = 60.0  # for a condition in the page; no test depends on how fast it is
POLL_SECONDS = 0.05


class BrowserTab(ABC):
    """One page of a browser.

    requests    the URLs that the page asked for
    errors      uncaught exceptions and messages of the console of level "error"
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result. Raises RuntimeError if it fails."""
        number = next(self._ids)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send(json.dumps(message))
        answer = await reply
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']} {answer.get('message', '')}")
        result: dict[str, Any] = answer["result"]
        return result

    @abstractmethod
    async def open(self, url: str) -> None:
        """Load a page and wait until its scripts have run."""

    @abstractmethod
    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; of a promise, what it resolves to.

        Raises RuntimeError if the expression throws, or its page is being replaced.
        """

    @abstractmethod
    async def fill(self, selector: str, value: str) -> None:
        """Put text into an element."""

    async def wait_for(self, condition: str, seconds: float = WAIT_SECONDS) -> Any:
        """Wait until a JavaScript expression is true, and return its value."""
        error: RuntimeError | None = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        if value := await self.evaluate(condition):
                            return value
                        error = None
                    except RuntimeError as raised:
                        error = raised
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            found = error or f"page: {await self.evaluate('document.body.innerText')}"
            raise AssertionError(f"not within {seconds} s: {condition}; {found}") from error

    async def text(self, selector: str) -> str:
        """Return the text of an element."""
        return str(await self.evaluate(f"document.querySelector({selector!r}).textContent.trim()"))

    async def click(self, selector: str) -> None:
        """Click on an element, as a user's gesture."""
        await self.evaluate(f"document.querySelector({selector!r}).click()")

    async def close(self) -> None:
        """Stop reading."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                self._replies.pop(message["id"]).set_result(message)
            else:
                self._event(message["method"], message["params"])

    @abstractmethod
    def _event(self, method: str, event: dict[str, Any]) -> None:
        """Take note of an event of the browser."""
