"""Checks the seal at start, and records the result in the run folder.

The code, which is our own and that of packages, is always read in full, and before boot is loaded
(appliance/code_seal.py); a development checkout has no seal over it. The rest is about the weights.

A full check reads every byte. By default a start skips it if the run folder records that the same
lock has passed a full check since the host booted. If the run folder is deleted with the container
(a plain tmpfs), every start does a full check; if it is kept on the host, restarts are quick.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from appliance import code_seal, journal, run_folder
from appliance.errors import SealBroken
from appliance.settings import Settings
from appliance.weights import choices, seal

HOST_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # proc(5): new each time the kernel boots
log = journal.get()


def verify(settings: Settings) -> None:
    """Compare code and weights with their lists. Log the result; record it in the run folder.

    Raises SealBroken, which names the first bad file, BadLock, and BadSetting for a model that the
    lock does not list.
    """
    code = verify_code(os.environ)
    if code:
        log.info(
            "code intact",
            state="full",
            files=code.files,
            bytes=code.size_bytes,
            seconds=code.seconds,
            sha256=code.list_sha256,
        )
    record = run_folder.read_seal(settings.paths.run)
    lock = choices.read_chosen(settings)
    current = {"lock": seal.sha256_of(settings.paths.lock), "host_start": _host_boot_id()}
    full = is_full(settings.supervision.seal_check, record, current)
    report = seal.verify(settings.paths.weights, lock, settings.profile, full)
    log.info(
        "seal intact",
        state="full" if full else "quick",
        files=report.files,
        bytes=report.size_bytes,
        seconds=report.seconds,
        sha256=current["lock"],
    )
    if full:
        record = {**current, "verified_seconds": time.time(), "took_seconds": report.seconds}
    result = {"full": full, "bytes": report.size_bytes, "lock_sha256": current["lock"]}
    result["code"] = code and {
        "sha256": code.list_sha256,
        "files": code.files,
        "bytes": code.size_bytes,
        "took_seconds": code.seconds,
    }
    run_folder.write_seal(settings.paths.run, {**record, **result})


def verify_code(environ: Mapping[str, str], full: bool = True) -> code_seal.CodeReport | None:
    """Return the check of the code before this process; make it now if there was none.

    Returns None outside the image, where there is no list. Raises SealBroken.
    """
    if not code_seal.is_sealed():
        return None
    done = code_seal.decode(environ.get(code_seal.RESULT, ""))
    if done and full:
        return done
    try:
        return code_seal.verify(full=full)
    except code_seal.Broken as problem:
        raise SealBroken(what=problem) from problem


def is_full(mode: str, record: Mapping[str, object], current: Mapping[str, str]) -> bool:
    """Whether to read every byte.

    mode     the setting supervision.seal_check: auto, full or quick
    record   the last check, with `lock` and `host_start` of the last full check
    current  `lock` and `host_start` of this start
    """
    if mode == "auto":
        return not current["host_start"] or any(record.get(key) != current[key] for key in current)
    return mode == "full"


def _host_boot_id() -> str:
    return HOST_BOOT_ID.read_text().strip() if HOST_BOOT_ID.exists() else ""
