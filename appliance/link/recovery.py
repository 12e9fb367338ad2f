"""Repeats a request until a lost engine is back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeVar

from appliance.errors import EngineGone

RECONNECT_SECONDS = 0.5  # between two attempts
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class EngineLost:
    """The engine was lost. The request will be repeated from its start if there is time left.

    play_hold_message  true at the first of several losses, if the request will be repeated
    """

    problem: EngineGone
    play_hold_message: bool


async def retry_until_back(
    request: Callable[[], AsyncGenerator[_Item, None]], seconds: float
) -> AsyncGenerator[_Item | EngineLost, None]:
    """Yield the items of `request()`, which is repeated after each loss of the engine.

    At each loss, yields an EngineLost. Raises EngineGone if the engine has not come back after
    `seconds`, and any other error of `request()`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    first = True
    while True:
        try:
            async with contextlib.aclosing(request()) as items:
                async for item in items:
                    yield item
            return
        except EngineGone as problem:
            gives_up = loop.time() > deadline
            yield EngineLost(problem, play_hold_message=first and not gives_up)
            if gives_up:
                raise
            first = False
        await asyncio.sleep(RECONNECT_SECONDS)
