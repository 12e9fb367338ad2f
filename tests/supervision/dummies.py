"""A real boot, guard and supervisord that run tiny dummy programs instead of the appliance's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from appliance import run_folder
from appliance.supervision.policy import counts_from_json
from appliance.supervision.supervisor_client import Program, SupervisorClient

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 60.0  # for a busy machine; no test asserts a duration

SLEEPER = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""
BROKEN = "raise SystemExit(3)"
# Answers health checks over the link like a real process, and behaves as MODE says.
ANSWERING = """
import asyncio, os, sys
from pathlib import Path
from appliance.link.protocol import HealthReport
from appliance.link.server import serve_link
from appliance.processes import socket_path

name, mode = Path(sys.argv[0]).stem, "MODE"
leak = []

async def main():
    report = HealthReport(ready=mode != "loading", waiting_for="", metrics="")
    path = socket_path(Path(os.environ["VOICE_PATHS_RUN"]), name)
    async with serve_link(path, lambda: report):
        print("up", flush=True)
        for _ in range(10_000):
            await asyncio.sleep(0.1)
            if mode == "leaking":
                leak.append(b"x" * 10_000_000)

asyncio.run(main())
"""
HEALTHY = ANSWERING.replace("MODE", "healthy")
LEAKING = ANSWERING.replace("MODE", "leaking")
LOADING = ANSWERING.replace("MODE", "loading")
SHORT_LIVED = "import time; print('up', flush=True); time.sleep(2)"
# Writes each line with one call, like the journal; an unbuffered print() would use two.
TALKER = """
import os, signal
for _ in range(50):
    os.write(1, b"line-" + b"x" * 200 + b"-end\\n")
signal.pause()
"""
REFUSING = """
from pathlib import Path
import os
from appliance.errors import MissingWeights
from appliance import run_folder
error = MissingWeights(path="model.onnx")
run_folder.write_failure(Path(os.environ["VOICE_PATHS_RUN"]), "tts", error)
raise SystemExit(error.exit_code)
"""
SICK = f"""
import os, time
from pathlib import Path
from appliance.errors import ModelUnhealthy
from appliance import run_folder
{SHORT_LIVED}
error = ModelUnhealthy(engine="exporter")
run_folder.write_failure(Path(os.environ["VOICE_PATHS_RUN"]), "exporter", error)
raise SystemExit(error.exit_code)
"""

_HEAD = """
[supervisord]
nodaemon=true
silent=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=%(ENV_VOICE_PATHS_RUN)s/supervisord.pid
childlogdir=%(ENV_VOICE_PATHS_RUN)s
[unix_http_server]
file=%(ENV_VOICE_PATHS_RUN)s/supervisor.sock
chmod=0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[eventlistener:guard]
command="%(ENV_APPLIANCE_PYTHON)s" -m appliance guard
events=PROCESS_STATE,SUPERVISOR_STATE_CHANGE,TICK_5
buffer_size=200
autorestart=true
startsecs=1
startretries=3
stopwaitsecs=3
stdout_logfile=NONE
stdout_logfile_maxbytes=0
stderr_logfile=/dev/fd/1
stderr_logfile_maxbytes=0
"""
_PROGRAM = """
[program:{name}]
command="%(ENV_APPLIANCE_PYTHON)s" {script}
autorestart=true
startsecs=1
startretries=1
stopwaitsecs=1
stopasgroup=true
killasgroup=true
stdout_logfile=/dev/fd/1
stdout_logfile_maxbytes=0
stderr_logfile=/dev/fd/1
stderr_logfile_maxbytes=0
"""
BOOT = """
import os, sys
from pathlib import Path
from appliance import journal
from appliance.errors import ApplianceError, SealBroken
from appliance.settings import load
from appliance.supervision import boot

def check(settings):
    if "BROKEN_SEAL" in os.environ:
        raise SealBroken(what="a byte was changed")

settings = load(os.environ)
journal.configure(settings.journal, "boot", strict=True)
try:
    boot.run(settings, Path(sys.argv[1]), check)
except ApplianceError as error:
    sys.exit(error.exit_code)
"""

_Value = TypeVar("_Value")


def wait_until(condition: Callable[[], _Value | None]) -> _Value:
    """Poll until `condition` returns a true value, and return that value.

    Fails after TIMEOUT_SECONDS.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"the condition did not become true in {TIMEOUT_SECONDS:g} s")


class DummyAppliance:
    """boot with `programs` (name -> Python source), run in `folder`, by the program `launcher`.

    The output of all processes goes to output.txt in `folder`.
    """

    def __init__(
        self,
        folder: Path,
        programs: dict[str, str],
        launcher: Sequence[str] = (),
        **environ: str,
    ) -> None:
        self.folder = folder
        self.run = folder / "run"
        conf = _HEAD
        for name, source in programs.items():
            script = folder / f"{name}.py"
            script.write_text(source)
            conf += _PROGRAM.format(name=name, script=script)
        (folder / "dummies.conf").write_text(conf)
        self.output = folder / "output.txt"
        self.environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "VOICE_PATHS_RUN": str(self.run),
            **environ,
        }
        with self.output.open("ab") as output:
            self.boot = subprocess.Popen(
                [*launcher, sys.executable, "-c", BOOT, str(folder / "dummies.conf")],
                env=self.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def program(self, name: str) -> Program | None:
        """Return the program as supervisord reports it, or None if supervisord does not answer."""
        try:
            programs = SupervisorClient(self.run, 5.0).programs()
        except ConnectionError:
            return None
        return next(program for program in programs if program.name == name)

    def wait_running(self, name: str) -> Program:
        """Wait until supervisord reports the program as running, and return it."""

        def running_now() -> Program | None:
            program = self.program(name)
            return program if program and program.state == "RUNNING" else None

        return wait_until(running_now)

    def wait(self) -> int:
        """Wait until boot exits, and return its exit code."""
        return self.boot.wait(TIMEOUT_SECONDS)

    def stop(self) -> int:
        """Stop boot if it is running, and return its exit code."""
        if self.boot.poll() is None:
            self.boot.send_signal(signal.SIGTERM)
        return self.wait()

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how often the guard has taken each action, by action and cause."""
        return counts_from_json(run_folder.read_guard(self.run))

    def reason(self) -> dict[str, Any]:
        """Return the exit reason that boot recorded for the host."""
        content: dict[str, Any] = json.loads((self.run / "reason.json").read_text())
        return content

    def lines(self) -> list[str]:
        """Return the output lines of boot and the programs so far."""
        return self.output.read_text().splitlines()
