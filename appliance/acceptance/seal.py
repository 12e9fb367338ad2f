"""Check the seal of the model files, and that the processes started with the same lock."""

from __future__ import annotations

import asyncio

from appliance import run_folder
from appliance.acceptance.context import AcceptanceContext
from appliance.acceptance.report import CheckResult, judge
from appliance.errors import ApplianceError
from appliance.weights import manifest, seal

CHECK = "seal"
EXPECTED = "every model file matches image-manifest.lock"


async def check(context: AcceptanceContext) -> list[CheckResult]:
    """Verify the contents of all model files; with --quick-seal, only names and sizes."""
    paths, profile = context.settings.paths, context.settings.profile
    full = not context.options.quick_seal
    try:
        lock = manifest.read(paths.lock)
        report = await asyncio.to_thread(seal.verify, paths.weights, lock, profile, full)
    except ApplianceError as error:
        return [CheckResult(CHECK, "fail", str(error), EXPECTED, error.advice)]
    current = seal.sha256_of(paths.lock)
    at_start = str(run_folder.read_seal(paths.run).get("lock", ""))
    actual = f"lock {current[:16]}"
    if current != at_start:
        actual += f", but the processes started with {at_start[:16] or 'none'}"
    return [
        CheckResult(CHECK, "pass", str(report), EXPECTED),
        judge(
            CHECK,
            current == at_start,
            actual,
            "the lock that the processes started with",
            "Restart the appliance: its files were replaced while it was running.",
        ),
    ]
