"""Are the model files sealed, and the processes started with the same lock?"""

from __future__ import annotations

import asyncio

from appliance import run_folder
from appliance.acceptance.report import CheckResult, judge
from appliance.acceptance.site import Site
from appliance.errors import ApplianceError
from appliance.weights import manifest, seal

CHECK = "seal"
WANTED = "every model file as image-manifest.lock lists it"


async def check(site: Site) -> list[CheckResult]:
    """Verify every byte; with --quick-seal, names and sizes only."""
    paths, profile = site.settings.paths, site.settings.profile
    full = not site.options.quick_seal
    try:
        lock = manifest.read(paths.lock)
        report = await asyncio.to_thread(seal.verify, paths.weights, lock, profile, full)
    except ApplianceError as error:
        return [CheckResult(CHECK, "fail", str(error), WANTED, error.advice)]
    current = seal.sha256_of(paths.lock)
    at_start = str(run_folder.read_seal(paths.run).get("lock", ""))
    found = f"lock {current[:16]}"
    if current != at_start:
        found += f", but {at_start[:16] or 'none'} at start"
    return [
        CheckResult(CHECK, "pass", str(report), WANTED),
        judge(
            CHECK,
            current == at_start,
            found,
            "the lock that the processes started with",
            "Restart the appliance: its files were replaced while it was running.",
        ),
    ]
