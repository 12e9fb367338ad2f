"""Check the seal, and that the processes started with the same lists of code and model files."""

from __future__ import annotations

import asyncio

from appliance import code_seal, run_folder
from appliance.acceptance.context import AcceptanceContext
from appliance.acceptance.report import CheckResult, judge
from appliance.errors import ApplianceError
from appliance.supervision import seal_check
from appliance.weights import choices, seal

CHECK = "seal"
EXPECTED = "every model file matches image-manifest.lock"
EXPECTED_CODE = "every file of our code, its packages and the system matches code.list"


async def check(context: AcceptanceContext) -> list[CheckResult]:
    """Verify the contents of all sealed files; with --quick-seal, only names and sizes."""
    paths, profile = context.settings.paths, context.settings.profile
    full = not context.options.quick_seal
    try:
        lock = choices.read_chosen(context.settings)
        report = await asyncio.to_thread(seal.verify, paths.weights, lock, profile, full)
        code = await asyncio.to_thread(seal_check.verify_code, {}, full)
    except ApplianceError as error:
        return [CheckResult(CHECK, "fail", str(error), EXPECTED, error.advice)]
    current = seal.sha256_of(paths.lock)
    record = run_folder.read_seal(paths.run)
    at_start = str(record.get("lock", ""))
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
        *judge_code(code, str((record.get("code") or {}).get("sha256", ""))),
    ]


def judge_code(code: code_seal.CodeReport | None, at_start: str) -> list[CheckResult]:
    """Compare the list of code with the list at the start; no results outside the image."""
    if code is None:
        return []
    actual = f"{code}; list {code.list_sha256[:16]}"
    if code.list_sha256 != at_start:
        actual += f", but the processes started with {at_start[:16] or 'none'}"
    advice = "Restart the appliance. If it was not started by the image's entrypoint, do so."
    return [judge(CHECK, code.list_sha256 == at_start, actual, EXPECTED_CODE, advice)]
