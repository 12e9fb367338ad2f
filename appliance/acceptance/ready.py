"""Check that the appliance is ready for calls."""

from __future__ import annotations

import asyncio
import json
import time

from appliance.acceptance.context import AcceptanceContext
from appliance.acceptance.report import CheckResult, format_seconds

CHECK = "ready"
POLL_SECONDS = 0.5
EXPECTED = "/readyz returns 200, or says that the appliance is closed"


async def check(context: AcceptanceContext) -> list[CheckResult]:
    """Wait until the appliance is ready, or until --wait expires."""
    started_at = time.monotonic()
    while obstacle := await find_obstacle(context):
        waited_seconds = time.monotonic() - started_at
        if waited_seconds > context.options.wait_seconds:
            actual = f"{obstacle}, after {format_seconds(waited_seconds)}"
            return [CheckResult(CHECK, "fail", actual, EXPECTED, _advice(obstacle))]
        await asyncio.sleep(POLL_SECONDS)
    return [CheckResult(CHECK, "pass", f"ready at {context.target.host}", EXPECTED)]


async def find_obstacle(context: AcceptanceContext) -> str:
    """Describe why the appliance accepts no calls; empty if it accepts them."""
    try:
        status, text = await context.readyz()
    except OSError as error:
        return f"no response from {context.target.host}: {getattr(error, 'reason', error)}"
    return describe_obstacle(status, text)


def describe_obstacle(status: int, text: str) -> str:
    """Describe a response of /readyz; empty if the appliance accepts this test's calls."""
    if status == 200:
        return ""
    try:
        page = json.loads(text)
    except ValueError:
        page = None
    if not isinstance(page, dict):
        return f"/readyz returns {status}"
    if page.get("draining"):
        return "draining: new calls are refused"
    if page.get("closed") and not page.get("waiting_for"):
        return ""
    return f"waiting for {page.get('waiting_for') or 'an unspecified component'}"


def _advice(obstacle: str) -> str:
    if obstacle.startswith("draining"):
        return "Run voicectl drain --undo to accept calls again."
    return "See the log of that process for the reason: voicectl logs -u NAME."
