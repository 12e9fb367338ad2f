"""Is the appliance ready for calls?"""

from __future__ import annotations

import asyncio
import json
import time

from appliance.acceptance.report import CheckResult, format_seconds
from appliance.acceptance.site import Site

CHECK = "ready"
POLL_SECONDS = 0.5
WANTED = "/readyz answers 200"


async def check(site: Site) -> list[CheckResult]:
    """Wait until the appliance is ready, or the time of --wait is over."""
    started_at = time.monotonic()
    while obstacle := await find_obstacle(site):
        waited_seconds = time.monotonic() - started_at
        if waited_seconds > site.options.wait_seconds:
            found = f"{obstacle}, after {format_seconds(waited_seconds)}"
            return [CheckResult(CHECK, "fail", found, WANTED, _advice(obstacle))]
        await asyncio.sleep(POLL_SECONDS)
    return [CheckResult(CHECK, "pass", f"ready at {site.target.host}", WANTED)]


async def find_obstacle(site: Site) -> str:
    """Describe why the appliance takes no calls; empty if it does."""
    try:
        status, text = await site.readyz()
    except OSError as problem:
        return f"no answer from {site.target.host}: {getattr(problem, 'reason', problem)}"
    return describe_obstacle(status, text)


def describe_obstacle(status: int, text: str) -> str:
    """Describe an answer of /readyz; empty if the appliance takes calls."""
    if status == 200:
        return ""
    try:
        page = json.loads(text)
    except ValueError:
        page = None
    if not isinstance(page, dict):
        return f"/readyz answers {status}"
    if page.get("draining"):
        return "draining: it takes no new calls"
    return f"waiting for {page.get('waiting_for') or 'something it does not name'}"


def _advice(obstacle: str) -> str:
    if obstacle.startswith("draining"):
        return "Accept calls again: voicectl drain --undo."
    return "The reason is in its log: voicectl status, voicectl logs."
