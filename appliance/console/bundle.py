"""Write a support bundle: a tar of the appliance's state and redacted log, without any speech."""

from __future__ import annotations

import dataclasses
import http.client
import io
import json
import os
import platform
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

from appliance import run_folder
from appliance.console.collect import collect_facts, fetch_metrics
from appliance.console.redact import redact
from appliance.console.state import Facts
from appliance.console.status import render_json
from appliance.errors import ApplianceError
from appliance.gpu.page import describe_plan
from appliance.settings import Settings, render
from appliance.weights import manifest, seal

FOLDER = "voice-bundle"
MAX_LOG_LINES = 100_000  # the latest ones
HOST_FILES = (
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/self/limits",
    "/proc/self/mountinfo",
    "/proc/driver/nvidia/version",
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory.current",
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/cpu.max",
)
ERROR_TEXTS = ("what", "details")  # in the records of errors, see run_folder.py
READ_ME = """\
A support bundle of the voice appliance.

status.json      the output of `voicectl status --json`
metrics.txt      all metrics, in Prometheus text format
settings.txt     every setting; of texts and paths of the site only their length
packages.txt     the installed packages
lock.txt         a summary of image-manifest.lock
plan.txt         how vLLM uses the GPU (gpu profile)
run/             the state files of the processes; of errors the name and the advice
host.txt         memory, processors and limits of the host and the container
log.jsonl        the redacted log: listed fields only and no free text, so nothing a caller said
"""

Part = Callable[[], str]


def write_bundle(settings: Settings, log: Iterable[str], out: BinaryIO) -> None:
    """Write the archive. The file of an unavailable part contains the reason."""
    kept = deque(redact(log), maxlen=MAX_LOG_LINES)
    now = time.time()
    parts = {**_parts(settings), "log.jsonl": lambda: "\n".join(kept)}
    with tarfile.open(mode="w|", fileobj=out, format=tarfile.PAX_FORMAT) as archive:
        for name, part in parts.items():
            content = _content(part).encode()
            entry = tarfile.TarInfo(f"{FOLDER}/{name}")
            entry.size, entry.mtime, entry.mode = len(content), int(now), 0o600
            archive.addfile(entry, io.BytesIO(content))


def _parts(settings: Settings) -> Mapping[str, Part]:
    parts: dict[str, Part] = {
        "README.txt": lambda: READ_ME,
        "status.json": lambda: render_json(_without_text(collect_facts(settings))),
        "metrics.txt": lambda: fetch_metrics(settings.exporter),
        "settings.txt": lambda: render(settings, shareable=True),
        "packages.txt": _packages,
        "lock.txt": lambda: _lock(settings),
        "plan.txt": lambda: describe_plan(settings),
        "host.txt": lambda: "\n".join(_host()),
    }
    run = settings.paths.run
    for path in sorted([*run.glob("*.json"), *run.glob(f"*/{run_folder.FAILED}")]):
        parts[f"run/{path.relative_to(run)}"] = partial(_record, path)
    return parts


def _without_text(facts: Facts) -> Facts:
    return dataclasses.replace(facts, reason=_shareable(facts.reason))


def _record(path: Path) -> str:
    return json.dumps(_shareable(run_folder.read_record(path)))


def _shareable(record: Mapping[str, object]) -> dict[str, object]:
    """Return a record of an error without its text, which quotes what the error refuses."""
    return {name: value for name, value in record.items() if name not in ERROR_TEXTS}


def _content(part: Part) -> str:
    try:
        text = part()
    except (ApplianceError, OSError, ValueError, http.client.HTTPException) as problem:
        text = f"not available: {problem}"
    return text if text.endswith("\n") else text + "\n"


def _packages() -> str:
    installed = {package.metadata["Name"]: package.version for package in metadata.distributions()}
    lines = [f"python=={platform.python_version()}"]
    lines += [f"{name}=={version}" for name, version in sorted(installed.items())]
    return "\n".join(lines)


def _lock(settings: Settings) -> str:
    lock = manifest.read(settings.paths.lock)
    used = [source for source in lock.sources.values() if settings.profile in source.profiles]
    summary = {
        "sha256": seal.sha256_of(settings.paths.lock),
        "files": len(lock.weights),
        "bytes": sum(weight.size_bytes for weight in lock.weights),
        "sources": {source.name: source.licence for source in used},
    }
    return json.dumps(summary, indent=2)


def _host() -> Iterator[str]:
    kernel = os.uname()  # all fields except the host name
    yield f"{kernel.sysname} {kernel.release} {kernel.version} {kernel.machine}"
    yield f"processors: {os.cpu_count()}, usable here {len(os.sched_getaffinity(0))}"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Hardware")):
            yield line
            break
    for path in map(Path, HOST_FILES):
        if path.exists():
            yield from ("", f"# {path}", path.read_text(errors="replace").rstrip())
