"""Background tasks whose failures are logged.

asyncio stores the exception of a task until the task is awaited. If it never is, the failure goes
unnoticed. Tasks that are never awaited are therefore started with `spawn`, which logs a failure
immediately and calls `on_failure`. A test checks that `asyncio.create_task` is used only where the
result is awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from appliance import journal

log = journal.get()
_running: set[asyncio.Task[None]] = set()  # asyncio itself keeps only weak references to tasks


def spawn(
    work: Coroutine[Any, Any, None],
    name: str,
    on_failure: Callable[[BaseException], None] | None = None,
) -> asyncio.Task[None]:
    """Run `work` in the background.

    An exception is logged at error level with its traceback, then passed to `on_failure`.
    Cancelling the task is not a failure.
    """
    task = asyncio.create_task(work, name=name)
    _running.add(task)

    def done(task: asyncio.Task[None]) -> None:
        _running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("task failed", task=name, exc_info=error)
            if on_failure is not None:
                on_failure(error)

    task.add_done_callback(done)
    return task


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks and wait until they have finished. Their exceptions are ignored."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
