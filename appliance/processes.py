"""The table of processes: what each one is, where it answers, and who restarts it.

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

    name            its verb (`python -m appliance NAME`), and its name in logs and metrics
    restarted_by    who decides that a hanging or failed process is restarted
    priority        supervisord's: started in rising, stopped in falling order; 0: not its program
    socket          file in the run folder where it answers for health and metrics; "": none
    memory_setting  field of settings.supervision with its memory limit in bytes; "": no limit
    is_engine       runs a model, so it may answer long before it is ready
    """

    name: str
    restarted_by: Literal["guard", "boot", "host"]
    priority: int = 0
    socket: str = ""
    memory_setting: str = ""
    is_engine: bool = False

    @property
    def command(self) -> tuple[str, ...]:
        """The command line that runs it."""
        return (sys.executable, "-m", "appliance", self.name)


PROCESSES = (
    ProcessSpec(GATEWAY, "guard", 30, "gateway.sock", "gateway_memory_bytes"),
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
    """The unix socket at which a process answers over appliance.link."""
    (socket,) = (process.socket for process in PROCESSES if process.name == name)
    return run / socket
