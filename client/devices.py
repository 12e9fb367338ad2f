"""`voice devices`: list the microphones and loudspeakers that `talk` can use."""

from __future__ import annotations

import argparse
from typing import Any

from client.audio import load_sounddevice
from client.config import Config
from client.native_stderr import libraries_muted
from client.report import plain


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Add no arguments; this command has none."""


async def run(_args: argparse.Namespace, _config: Config) -> int:
    """Print the list. Raises UsageError on a machine without a sound system."""
    with libraries_muted():
        listed = list_devices(load_sounddevice())
    print(listed)
    return 0


def list_devices(sound: Any) -> str:
    """One line per device: its number, direction, sample rate and name."""
    lines = []
    for number, device in enumerate(sound.query_devices()):
        directions = [
            direction
            for direction, key in (("in", "max_input_channels"), ("out", "max_output_channels"))
            if device[key] > 0
        ]
        rate = float(device["default_samplerate"])
        name = plain(device["name"])
        lines.append(f"{number:3d}  {'+'.join(directions):6}  {rate:6.0f} Hz  {name}")
    return "\n".join(lines) or "no sound devices; `say` and `ask` work without them"
