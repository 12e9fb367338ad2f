"""What was tested, on what, and how it was set: the head of the report."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from appliance import settings
from appliance.gpu import nvml
from appliance.gpu.cards import GIB, Card
from appliance.weights import seal

# What decides how it hears, thinks, speaks and lets in.
MATTER = (
    "gateway.max_sessions",
    "turn.vad_start_seconds",
    "turn.vad_stop_seconds",
    "turn.incomplete_stop_seconds",
    "turn.half_duplex",
    "llm.engine",
    "llm.model",
    "llm.context_tokens",
    "llm.history_tokens",
    "llm.reply_tokens",
    "llm.temperature",
    "llm.dtype",
    "llm.kv_dtype",
    "tts.backend",
    "tts.voice",
    "tts.speed",
    "tts.device",
    "journal.transcripts",
)


def about(given: settings.Settings, told: dict[str, str]) -> dict[str, Any]:
    """`told` is what only the host knows: image, container, its name; empty for what it did not."""
    cards = nvml.look()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": settings.VERSION,
        "profile": given.profile,
        "image_id": told.get("image_id") or "",
        "container": told.get("container") or "",
        "lock_sha256": seal.sha256_of(given.paths.lock) if given.paths.lock.is_file() else "",
        "host": told.get("host") or platform.node(),
        "kernel": platform.release(),
        "processor": processor(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "cards": [card(one) for one in cards.cards],
        "no_card_because": cards.why,
        "settings": chosen(given),
        "changed_settings": changed(given),
    }


def card(of: Card) -> dict[str, Any]:
    """A graphics card, for the report."""
    return {
        "name": of.name,
        "driver": of.driver,
        "uuid": of.uuid,
        "memory_gib": round(of.memory_bytes / GIB, 1),
        "capability": ".".join(map(str, of.capability)),
    }


def chosen(given: settings.Settings) -> dict[str, str]:
    """The settings of MATTER."""
    values = {f"{section}.{name}": value for section, name, value in settings.walk(given)}
    return {name: str(values[name]) for name in MATTER}


def changed(given: settings.Settings) -> list[str]:
    """The names of settings that are not the profile's own; a value may be nobody's business."""
    own = settings.load({f"{settings.PREFIX}PROFILE": given.profile})
    before = {(section, name): value for section, name, value in settings.walk(own)}
    return [
        f"{section}.{name}"
        for section, name, value in settings.walk(given)
        if value != before[section, name]
    ]


def processor(cpuinfo: str) -> str:
    """The first processor's name (proc(5), cpuinfo), or the machine's kind."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    named = (value.strip() for name, _, value in lines if name.strip() == "model name")
    return next(named, platform.machine())
