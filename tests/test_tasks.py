"""Background tasks: no failure is silent."""

from __future__ import annotations

import ast
import asyncio
import gc
import io
import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.tasks import cancel, spawn
from tests.gateway.captured_log import captured_log

ROOT = Path(__file__).parents[1]

# Functions that create a task and await it themselves, so that its failure is raised there.
AWAITED_IN = {
    "appliance/tasks.py": {"spawn"},
    "appliance/gateway/server.py": {"_serve"},
    "appliance/link/server.py": {"_run_engine", "_start_request"},  # `_run` handles every exception
    "appliance/supervision/exporter.py": {"_serve_metrics"},
    "appliance/web/server.py": {"__init__"},
    "appliance/supervision/guard.py": {"_serve", "run"},
    "appliance/engines/llm/vllm/engine.py": {"died"},
    "appliance/acceptance/recovery.py": {"_kill"},
    "appliance/acceptance/egress.py": {"__aenter__"},
}


@pytest.fixture
def log() -> Iterator[io.BytesIO]:
    with captured_log() as stream:
        yield stream


def lines(log: io.BytesIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


async def fail() -> None:
    raise ValueError("not logged")


async def test_failure_is_logged_with_its_traceback_and_passed_to_the_owner(
    log: io.BytesIO,
) -> None:
    failures: list[BaseException] = []
    task = spawn(fail(), "watch", failures.append)
    await asyncio.wait({task})
    await asyncio.sleep(0)
    (line,) = lines(log)
    assert (line["level"], line["event"], line["task"]) == ("error", "task failed", "watch")
    assert line["error"] == "ValueError"
    assert "test_tasks.py:" in str(line["trace"]) and ":fail" in str(line["trace"])
    assert b"not logged" not in log.getvalue()
    assert [type(error) for error in failures] == [ValueError]


async def test_success_and_cancellation_are_not_failures(log: io.BytesIO) -> None:
    failures: list[BaseException] = []
    done = spawn(asyncio.sleep(0), "done", failures.append)
    cancelled = spawn(asyncio.sleep(60), "cancelled", failures.append)
    await done
    await cancel(cancelled)
    assert cancelled.cancelled()
    assert (lines(log), failures) == ([], [])


async def test_task_that_nothing_refers_to_is_not_garbage_collected() -> None:
    ended = asyncio.Event()

    async def wait_for_cycle() -> None:
        # Without `spawn`, only this reference cycle would keep the task alive.
        future: asyncio.Future[None] = asyncio.Future()
        futures.add(future)
        await future
        ended.set()

    futures: weakref.WeakSet[asyncio.Future[None]] = weakref.WeakSet()
    spawn(wait_for_cycle(), "forgotten")
    await asyncio.sleep(0)
    gc.collect()
    (future,) = futures
    future.set_result(None)
    await asyncio.wait_for(ended.wait(), 10)


async def test_cancel_waits_for_tasks_and_ignores_their_outcome(log: io.BytesIO) -> None:
    cleaned_up = asyncio.Event()

    async def clean_up_slowly() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            cleaned_up.set()

    task, failed = spawn(clean_up_slowly(), "slow"), spawn(fail(), "failed")
    await asyncio.sleep(0)
    await cancel(task, failed)
    assert cleaned_up.is_set()


def task_creations(path: Path) -> Iterator[tuple[str, int]]:
    """Return the function and line of each `asyncio.create_task` or `ensure_future` in a file."""
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in ("create_task", "ensure_future")
                and isinstance(node.value, ast.Name)
                and node.value.id in ("asyncio", "loop")
            ):
                yield function.name, node.lineno


def test_tasks_that_nothing_awaits_are_spawned() -> None:
    unobserved = [
        f"{name}:{line} in {function}"
        for path in sorted((ROOT / "appliance").rglob("*.py"))
        for name in [path.relative_to(ROOT).as_posix()]
        for function, line in task_creations(path)
        if function not in AWAITED_IN.get(name, ())
    ]
    assert unobserved == [], "use appliance.tasks.spawn, or await the task and list it here"
