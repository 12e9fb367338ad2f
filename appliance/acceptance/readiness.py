"""Does it take calls?"""

from __future__ import annotations

import asyncio
import json
import time

from appliance.acceptance.report import Result, seconds
from appliance.acceptance.site import Site

CHECK = "ready"
LOOK_SECONDS = 0.5
WANTED = "/readyz answers 200"


async def check(site: Site) -> list[Result]:
    """Waits as long as was wished."""
    began = time.monotonic()
    while (waits := await waits_for(site)) != "":
        if time.monotonic() - began > site.wishes.wait_seconds:
            after = seconds(time.monotonic() - began)
            return [Result(CHECK, "fail", f"{waits}, after {after}", WANTED, _advice(waits))]
        await asyncio.sleep(LOOK_SECONDS)
    return [Result(CHECK, "pass", f"ready at {site.door.host}", WANTED)]


async def waits_for(site: Site) -> str:
    """What calls have to wait for, in words; empty when they are taken."""
    try:
        status, text = await site.ready_page()
    except OSError as problem:
        return f"no answer from {site.door.host}: {getattr(problem, 'reason', problem)}"
    return told(status, text)


def told(status: int, text: str) -> str:
    """The meaning of an answer of /readyz."""
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


def _advice(waits: str) -> str:
    if waits.startswith("draining"):
        return "Let callers in again: voicectl drain --undo."
    return "See why in its log: voicectl status, voicectl logs."
