"""`bundle`: what support needs to know, as a tar on stdout, without a word of a caller."""

from __future__ import annotations

import http.client
import io
import json
import os
import platform
import re
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

from appliance.console.logs import read
from appliance.console.state import gathered, page
from appliance.console.status import as_json
from appliance.errors import ApplianceError, catalogue
from appliance.gpu.page import describe_plan
from appliance.journal import LEVELS
from appliance.journal_fields import CATALOGUE_FIELDS, NUMBER_FIELDS, TEXT_FIELDS
from appliance.settings import Settings, render
from appliance.weights import manifest, seal

# An identifier, a path, a number, a frame of a stack: one word, in ASCII.
_WORD = re.compile(r"[A-Za-z0-9_.:/@+=<>,-]{1,200}", re.ASCII)
_OURS = frozenset({"outcome", "by", "reason", "engine"})  # words of our source
_READY = re.compile(r"[a-z]+(?: and [a-z]+)*", re.ASCII)  # of waiting_for


Known = Callable[[str], bool]


def in_source(source: str) -> Known:
    """Whether a text stands between quotes in our source, in one piece or in two.

    In two as in `"program " + change.kind.replace("_", " ")`.
    """

    def quoted(text: str) -> bool:
        return f'"{text}"' in source

    @lru_cache(maxsize=4096)  # a log says the same few words again and again; the source is long
    def known(text: str) -> bool:
        if not text or not text.isascii() or '"' in text:
            return False
        spaces = [at for at, character in enumerate(text, 1) if character == " "]
        return quoted(text) or any(
            quoted(text[:at]) and quoted(text[at:].replace(" ", "_")) for at in spaces
        )

    return known


def redacted(texts: Iterable[str], known: Known) -> Iterator[str]:
    """The lines as they may leave; `known` says which words are our own."""
    foreign = 0
    for text in texts:
        line = read(text)
        if line.fields is None:
            foreign += bool(line.text.strip())
        else:
            yield json.dumps(_fields(line.fields, known), separators=(",", ":"))
    if foreign:
        yield json.dumps({"event": "lines left out", "count": foreign}, separators=(",", ":"))


def _fields(fields: Mapping[str, Any], known: Known) -> dict[str, object]:
    kept: dict[str, object] = {}
    dropped = 0
    for name, value in fields.items():
        allowed = _allowed(name, value, known)
        if allowed is None:
            dropped += name not in CATALOGUE_FIELDS
        else:
            kept[name] = allowed
    kept.setdefault("event", "unnamed")
    error = catalogue().get(str(kept.get("reason", "")))
    if error is not None and "advice" in fields:
        kept["advice"] = error.advice
    if dropped:
        before = kept.get("dropped_fields", 0)
        kept["dropped_fields"] = dropped + (before if isinstance(before, int) else 0)
    return kept


def _allowed(name: str, value: object, known: Known) -> object:
    """The value if it may leave, or None."""
    if value == "" and name in TEXT_FIELDS:
        return value
    if name == "event" or (name in _OURS and isinstance(value, str)):
        return value if isinstance(value, str) and known(value) else None
    if name == "level":
        return value if value in LEVELS else None
    if name == "waiting_for" and isinstance(value, str) and _READY.fullmatch(value):
        return value
    if name in NUMBER_FIELDS | TEXT_FIELDS and isinstance(value, (int, float)):
        return value
    if name in TEXT_FIELDS and isinstance(value, str) and _WORD.fullmatch(value):
        return value
    if name in TEXT_FIELDS and isinstance(value, list):
        return [part for part in value if isinstance(part, str) and _WORD.fullmatch(part)]
    return None


FOLDER = "voice-bundle"
MAX_LOG_LINES = 100_000  # the latest
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
READ_ME = """\
A support bundle of the voice appliance.

status.json      what `voicectl status --json` says
metrics.txt      the page of metrics
settings.txt     every setting as it is; a token or key is a path here, never its content
packages.txt     the installed packages
lock.txt         what is sealed, in short
plan.txt         what the speech-LLM is started with on the card here
run/             what the processes leave for each other
host.txt         memory, processors, limits of the host and the container
log.jsonl        the log; only listed fields, no free text, and so nothing that a caller said
"""

Part = Callable[[], str]


def write(given: Settings, log: Iterable[str], out: BinaryIO) -> None:
    """Writes the archive. A part that cannot be had says so in its place."""
    kept = deque(redacted(log, in_source(_source())), maxlen=MAX_LOG_LINES)
    now = time.time()
    with tarfile.open(mode="w|", fileobj=out, format=tarfile.PAX_FORMAT) as archive:
        for name, part in {**_parts(given), "log.jsonl": lambda: "\n".join(kept)}.items():
            content = _content(part).encode()
            entry = tarfile.TarInfo(f"{FOLDER}/{name}")
            entry.size, entry.mtime, entry.mode = len(content), int(now), 0o600
            archive.addfile(entry, io.BytesIO(content))


def _parts(given: Settings) -> Mapping[str, Part]:
    parts: dict[str, Part] = {
        "README.txt": lambda: READ_ME,
        "status.json": lambda: as_json(gathered(given)),
        "metrics.txt": lambda: page(given.exporter),
        "settings.txt": lambda: render(given),
        "packages.txt": _packages,
        "lock.txt": lambda: _lock(given),
        "plan.txt": lambda: describe_plan(given),
        "host.txt": lambda: "\n".join(_host()),
    }
    for path in sorted(given.paths.run.glob("*.json")):
        parts[f"run/{path.name}"] = path.read_text
    return parts


def _content(part: Part) -> str:
    try:
        text = part()
    except (ApplianceError, OSError, ValueError, http.client.HTTPException) as problem:
        text = f"not available: {problem}"
    return text if text.endswith("\n") else text + "\n"


def _packages() -> str:
    found = {it.metadata["Name"]: it.version for it in metadata.distributions()}
    lines = [f"python=={platform.python_version()}"]
    lines += [f"{name}=={version}" for name, version in sorted(found.items())]
    return "\n".join(lines)


def _lock(given: Settings) -> str:
    lock = manifest.read(given.paths.lock)
    used = [source for source in lock.sources.values() if given.profile in source.profiles]
    told = {
        "sha256": seal.sha256_of(given.paths.lock),
        "files": len(lock.weights),
        "bytes": sum(weight.size_bytes for weight in lock.weights),
        "sources": {source.name: source.licence for source in used},
    }
    return json.dumps(told, indent=2)


def _host() -> Iterator[str]:
    about = os.uname()  # without the name of the host
    yield f"{about.sysname} {about.release} {about.version} {about.machine}"
    yield f"processors: {os.cpu_count()}, for us {len(os.sched_getaffinity(0))}"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Hardware")):
            yield line
            break
    for path in map(Path, HOST_FILES):
        if path.exists():
            yield from ("", f"# {path}", path.read_text(errors="replace").rstrip())


def _source() -> str:
    """Our own source: the words in it are no caller's."""
    return "".join(path.read_text() for path in Path(__file__).parents[1].rglob("*.py"))
