"""The seal at the start: how thoroughly it is looked at, and what is told of the result.

Every byte is read unless this very lock was found intact since the host was started; that is
remembered in the run folder. Where the folder goes with the container (a plain tmpfs), every start
reads every byte; a host that keeps it in memory of its own gets quick restarts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from appliance import journal, run_folder
from appliance.errors import BadSetting
from appliance.settings import Settings
from appliance.weights import manifest, seal

LOOKS = ("auto", "full", "quick")
HOST_START = Path("/proc/sys/kernel/random/boot_id")  # proc(5): new each time the kernel starts
log = journal.get()


def verify(given: Settings) -> None:
    """Compares the weights with the lock; logs the result and leaves it in the run folder.

    Raises SealBroken naming the first file that is wrong, BadLock and BadSetting.
    """
    remembered = run_folder.read_seal(given.paths.run)
    lock = manifest.read(given.paths.lock)
    of = {"lock": seal.sha256_of(given.paths.lock), "host_start": _host_start()}
    full = is_full(given.supervision.seal_check, remembered, of)
    report = seal.verify(given.paths.weights, lock, given.profile, full)
    log.info(
        "seal intact",
        state="full" if full else "quick",
        files=report.files,
        bytes=report.size_bytes,
        seconds=report.seconds,
        sha256=of["lock"],
    )
    if full:
        remembered = {**of, "verified_seconds": time.time(), "took_seconds": report.seconds}
    left = {**remembered, "full": full, "bytes": report.size_bytes, "looked_at": of["lock"]}
    run_folder.write_seal(given.paths.run, left)


def is_full(check: str, remembered: Mapping[str, object], of: Mapping[str, str]) -> bool:
    """Whether every byte is to be read. `of` is the lock and the host's start it would be for."""
    if check not in LOOKS:
        raise BadSetting(name="supervision.seal_check", why=f"{check!r} is none of {LOOKS}")
    if check == "auto":
        return not of["host_start"] or any(remembered.get(key) != of[key] for key in of)
    return check == "full"


class SealMetrics(Collector):
    """What the last start left in the run folder."""

    def __init__(self, left: Mapping[str, Any]) -> None:
        self._left = left

    def collect(self) -> Iterator[Metric]:
        told = {
            "voice_seal_ok": (
                "1 when this start found all model files as sealed.",
                bool(self._left),
            ),
            "voice_seal_full": ("1 when this start read every byte.", self._left.get("full")),
            "voice_seal_bytes": ("Size of the sealed model files.", self._left.get("bytes")),
            "voice_seal_verified_timestamp_seconds": (
                "Unix time at which every byte was last read; 0 for never.",
                self._left.get("verified_seconds"),
            ),
            "voice_seal_verify_seconds": (
                "How long reading every byte took.",
                self._left.get("took_seconds"),
            ),
        }
        for name, (meaning, value) in told.items():
            yield GaugeMetricFamily(name, meaning, float(value or 0))
        lock = GaugeMetricFamily(
            "voice_seal_info", "The lock that this start was compared with.", labels=["lock_sha256"]
        )
        if self._left.get("looked_at"):
            lock.add_metric([self._left["looked_at"]], 1)
        yield lock


def _host_start() -> str:
    return HOST_START.read_text().strip() if HOST_START.exists() else ""
