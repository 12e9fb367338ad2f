"""Is what lies here what was sealed, and is it what the processes started with?"""

from __future__ import annotations

import asyncio

from appliance import run_folder
from appliance.acceptance.report import Result, judged
from appliance.acceptance.site import Site
from appliance.errors import ApplianceError
from appliance.weights import manifest, seal

CHECK = "seal"


async def check(site: Site) -> list[Result]:
    """Reads every byte, or only names and sizes where that was wished."""
    given = site.given
    full = not site.wishes.quick_seal
    wanted = "every model file as image-manifest.lock lists it"
    try:
        lock = manifest.read(given.paths.lock)
        report = await asyncio.to_thread(
            seal.verify, given.paths.weights, lock, given.profile, full
        )
    except ApplianceError as broken:
        return [Result(CHECK, "fail", str(broken), wanted, broken.advice)]
    now = seal.sha256_of(given.paths.lock)
    then = str(run_folder.read_seal(given.paths.run).get("lock", ""))
    return [
        Result(CHECK, "pass", str(report), wanted),
        judged(
            CHECK,
            now == then,
            f"lock {now[:16]}" + ("" if now == then else f", but {then[:16] or 'none'} at start"),
            "the lock that the processes started with",
            "Restart the appliance: its files were exchanged while it ran.",
        ),
    ]
