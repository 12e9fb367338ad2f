"""`client devices`: the microphones and loudspeakers that `talk` can use."""

from __future__ import annotations

import argparse
from typing import Any

from client.audio import load_sounddevice
from client.config import Config
from client.report import plain


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """No flags of its own."""


async def run(_args: argparse.Namespace, _config: Config) -> int:
    """Raises UsageError where there is no sound system."""
    print(listing(load_sounddevice()))
    return 0


def listing(sound: Any) -> str:
    """One line per device: number, what it can do, name."""
    lines = []
    for number, device in enumerate(sound.query_devices()):
        roles = [
            role
            for role, key in (("in", "max_input_channels"), ("out", "max_output_channels"))
            if device[key] > 0
        ]
        rate = float(device["default_samplerate"])
        lines.append(f"{number:3d}  {'+'.join(roles):6}  {rate:6.0f} Hz  {plain(device['name'])}")
    return "\n".join(lines) or "no sound devices; `say` and `ask` work without them"
