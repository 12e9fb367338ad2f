"""Asking an engine again until it is back: a restart takes it seconds, and the call goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeVar

from appliance.errors import EngineGone

RECONNECT_SECONDS = 0.5
_Piece = TypeVar("_Piece")


@dataclass(frozen=True, slots=True)
class Lost:
    """The engine is gone; what was asked of it is asked anew, from the start.

    wait  whether this is the moment to ask the caller for patience: the first loss of several
    """

    problem: EngineGone
    wait: bool


async def outlasting(
    ask: Callable[[], AsyncGenerator[_Piece, None]], seconds: float
) -> AsyncGenerator[_Piece | Lost, None]:
    """What `ask()` yields, with a Lost wherever the engine went away.

    Raises EngineGone when it stays away for so many seconds, and whatever else `ask()` raises.
    """
    loop = asyncio.get_running_loop()
    gives_up_at = loop.time() + seconds
    waiting = False
    while True:
        try:
            async with contextlib.aclosing(ask()) as pieces:
                async for piece in pieces:
                    yield piece
            return
        except EngineGone as problem:
            gives_up = loop.time() > gives_up_at
            yield Lost(problem, wait=not (waiting or gives_up))
            if gives_up:
                raise
            waiting = True
        await asyncio.sleep(RECONNECT_SECONDS)
