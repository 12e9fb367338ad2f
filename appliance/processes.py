"""The table of processes: the socket of each process, who restarts it, and its memory limit.

Every list of processes in the code is derived from `PROCESSES`. supervisord.conf and the shell
scripts in ops/ spell the names out; tests/test_processes.py compares them with this table.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

GATEWAY, LLM, TTS, EXPORTER = "gateway", "llm", "tts", "exporter"
BOOT, GUARD = "boot", "guard"


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process of the appliance.

    name            its subcommand (`python -m appliance NAME`), and its name in logs and metrics
    restarted_by    what restarts the process when it hangs or fails
    priority        supervisord priority: lower starts earlier and stops later; 0 if supervisord
                    does not run it
    socket          file in the run folder: the socket on which it serves health checks and
                    metrics; empty if it has none
    memory_setting  field of settings.supervision with its memory limit in bytes; empty for no limit
    is_engine       whether it runs a model, and so may serve its socket long before it is ready
    """

    name: str
    restarted_by: Literal["guard", "boot", "host"]
    priority: int = 0
    socket: str = ""
    memory_setting: str = ""
    is_engine: bool = False

    @property
    def command(self) -> tuple[str, ...]:
        """The command line that runs the process."""
        return (sys.executable, "-m", "appliance", self.name)


PROCESSES = (
    # In a folder of its own, because a confined process can write only there.
    ProcessSpec(GATEWAY, "guard", 30, "gateway/gateway.sock", "gateway_memory_bytes"),
    ProcessSpec(LLM, "guard", 21, "llm.sock", "llm_memory_bytes", is_engine=True),
    ProcessSpec(TTS, "guard", 20, "tts.sock", "tts_memory_bytes", is_engine=True),
    ProcessSpec(EXPORTER, "guard", 10, memory_setting="exporter_memory_bytes"),
    ProcessSpec(BOOT, "host"),
    ProcessSpec(GUARD, "boot", 5),
)

NAMES = tuple(process.name for process in PROCESSES)
# The programs of supervisord.conf, in start order.
PROGRAMS = tuple(
    process.name
    for process in sorted(PROCESSES, key=lambda process: process.priority)
    if process.priority
)
ENGINES = tuple(process.name for process in PROCESSES if process.is_engine)
# Processes whose metrics the exporter collects over their sockets.
METRIC_SOURCES = tuple(process.name for process in PROCESSES if process.socket)


def socket_path(run: Path, name: str) -> Path:
    """Return the Unix socket on which a process serves the engine link (appliance.link)."""
    (socket,) = (process.socket for process in PROCESSES if process.name == name)
    return run / socket
