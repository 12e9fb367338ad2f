"""A stream that is read in the background and replayed to a consumer that comes later."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

from appliance.tasks import cancel, spawn

T = TypeVar("T")


class BufferedStream(Generic[T]):
    """Reads `source` in a task from the start, and keeps its items for one `replay`."""

    def __init__(
        self,
        source: AsyncGenerator[T, None],
        name: str,
        on_item: Callable[[T], Awaitable[None]] | None = None,
    ) -> None:
        """Start to read. `on_item` is awaited for each item before the next one is read."""
        self._items: list[T] = []
        self._ended = False
        self._changed = asyncio.Event()
        self.error: Exception | None = None
        self._task = spawn(self._read(source, on_item), name)

    async def replay(self) -> AsyncGenerator[T, None]:
        """Yield all items from the first on, and raise the error of the source, if any.

        Closing this generator closes the source.
        """
        try:
            position = 0
            while True:
                while position < len(self._items):
                    yield self._items[position]
                    position += 1
                if self._ended:
                    break
                self._changed.clear()
                await self._changed.wait()
            if self.error is not None:
                raise self.error
        finally:
            await self.close()

    def stop(self) -> None:
        """Ask the task to close the source. `close` waits until it has."""
        self._task.cancel()

    async def close(self) -> None:
        """Close the source."""
        await cancel(self._task)

    async def _read(
        self, source: AsyncGenerator[T, None], on_item: Callable[[T], Awaitable[None]] | None
    ) -> None:
        try:
            async with contextlib.aclosing(source):
                async for item in source:
                    self._items.append(item)
                    self._changed.set()
                    if on_item is not None:
                        await on_item(item)
        except Exception as error:
            self.error = error
        finally:
            self._ended = True
            self._changed.set()
