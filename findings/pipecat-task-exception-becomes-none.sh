#!/usr/bin/env bash
# Pipecat 1.14.0, TaskManager.create_task: an exception of the coroutine does not reach whoever awaits
# the task. The task ends with the result None and `task.exception()` is None; the only trace is a log
# line with the message and the last frame. Code that awaits the task to learn whether it worked, as with
# asyncio.create_task, takes the failure for success.
#
# Seen with pipecat-ai 1.14.0 on Python 3.11, 2026-11-28:
#   asyncio.create_task: ValueError('model gone')
#   TaskManager.create_task: result None, exception None

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'pipecat-ai==1.14.0'
"$folder/venv/bin/python" -W ignore - <<'PY'
import asyncio

from loguru import logger

logger.remove()
from pipecat.utils.asyncio.task_manager import TaskManager, TaskManagerParams


async def load():
    raise ValueError("model gone")


async def main():
    (plain,) = await asyncio.gather(asyncio.create_task(load()), return_exceptions=True)
    print(f"asyncio.create_task: {plain!r}")
    manager = TaskManager()
    manager.setup(TaskManagerParams(loop=asyncio.get_running_loop()))
    task = manager.create_task(load(), "load")
    await asyncio.wait([task])
    print(f"TaskManager.create_task: result {task.result()}, exception {task.exception()}")
    assert isinstance(plain, ValueError)
    assert task.result() is None and task.exception() is None


asyncio.run(main())
PY
