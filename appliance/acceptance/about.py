"""Describe what is tested, for the head of the report: version, image, host, GPUs and settings."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from typing import Any

import psutil

from appliance.acceptance.options import AcceptanceOptions
from appliance.gpu import nvml
from appliance.gpu.cards import GIB, GpuCard
from appliance.gpu_proof.machine import CPUINFO, processor_name
from appliance.settings import VERSION, Settings, load, variable, walk
from appliance.weights.seal import sha256_of

# The settings that determine turn-taking, answers, speech and admission. None of them contains a
# secret or a prompt.
REPORTED_SETTINGS = (
    "gateway.max_sessions",
    "turn.vad_start_seconds",
    "turn.vad_interrupt_seconds",
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


def describe(settings: Settings, options: AcceptanceOptions) -> dict[str, Any]:
    """Return the description as JSON values.

    The image id and the container's name come from the host. They are empty if it did not pass
    them.
    """
    detected = nvml.list_cards()
    lock = settings.paths.lock
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": VERSION,
        "profile": settings.profile,
        "image_id": options.image_id,
        "container": options.container,
        "lock_sha256": sha256_of(lock) if lock.is_file() else "",
        "host": options.host or platform.node(),
        "kernel": platform.release(),
        "processor": processor_name(CPUINFO.read_text(encoding="utf-8")),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "cards": [describe_card(card) for card in detected.cards],
        "no_card_because": detected.problem,
        "settings": reported_settings(settings),
        "changed_settings": changed_settings(settings),
    }


def describe_card(card: GpuCard) -> dict[str, Any]:
    """Return the description of a GPU as JSON values."""
    return {
        "name": card.name,
        "driver": card.driver,
        "uuid": card.uuid,
        "memory_gib": round(card.memory_bytes / GIB, 1),
        "capability": ".".join(map(str, card.capability)),
    }


def reported_settings(settings: Settings) -> dict[str, str]:
    """Return the values of REPORTED_SETTINGS."""
    values = {f"{section}.{field}": value for section, field, value in walk(settings)}
    return {name: str(values[name]) for name in REPORTED_SETTINGS}


def changed_settings(settings: Settings) -> list[str]:
    """Return the names of settings that differ from the defaults, without their values.

    The values may be confidential.
    """
    defaults = load({variable("profile"): settings.profile})
    default = {(section, field): value for section, field, value in walk(defaults)}
    return [
        f"{section}.{field}"
        for section, field, value in walk(settings)
        if value != default[section, field]
    ]
