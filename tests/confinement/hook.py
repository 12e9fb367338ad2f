"""Imported when Python starts in a container under test: plays a gateway that was taken over.

On SIGUSR2 the gateway's main thread runs an attack on all processes of the container.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

RUN_FOLDER, METRICS_PORT = "/run/voice", 9465
STORE = "/run/secrets/voice-access/tokens"


def processes() -> dict[str, int]:
    """The other processes of the appliance: name and pid."""
    found: dict[str, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended, such as the command that sent the signal
        if "appliance.supervision.supervisord" in words:
            found["supervisord"] = int(folder.name)
        elif words[-1:] and words[-1] in ("boot", "guard", "llm", "tts", "exporter"):
            found[words[-1]] = int(folder.name)
    return found


def _attack(number: int, frame: object) -> None:
    import attack  # type: ignore[import-not-found]  # beside this file in the container

    attack.report(attack.run(RUN_FOLDER, processes(), METRICS_PORT, STORE, "/"))


if sys.orig_argv[-2:] == ["appliance", "gateway"]:
    signal.signal(signal.SIGUSR2, _attack)
