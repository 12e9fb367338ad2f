"""A real boot and guard over a real supervisord, with tiny programs in place of the appliance's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from appliance import run_folder
from appliance.supervision.supervisor_client import Program, SupervisorClient

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0  # a machine may be busy; nothing is asserted on time itself

SLEEPER = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""
BROKEN = "raise SystemExit(3)"
# Answers for its health over the link, as the real ones do, and is what MODE says beside that.
ANSWERING = """
import asyncio, os, sys
from pathlib import Path
from appliance.link.protocol import HealthReport
from appliance.link.server import serve_link

name, mode = Path(sys.argv[0]).stem, "MODE"
held = []

async def main():
    report = HealthReport(ready=mode != "loading", waiting_for="", metrics="")
    async with serve_link(Path(os.environ["VOICE_PATHS_RUN"]) / f"{name}.sock", lambda: report):
        print("up", flush=True)
        for _ in range(10_000):
            await asyncio.sleep(0.1)
            if mode == "leaking":
                held.append(b"x" * 10_000_000)

asyncio.run(main())
"""
WELL = ANSWERING.replace("MODE", "well")
LEAKING = ANSWERING.replace("MODE", "leaking")
LOADING = ANSWERING.replace("MODE", "loading")
SHORT_LIVED = "import time; print('up', flush=True); time.sleep(2)"
# Each line in one piece, as the journal writes them: print() would, unbuffered, make two of it.
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
from appliance.errors import ModelSick
from appliance import run_folder
{SHORT_LIVED}
error = ModelSick(engine="exporter")
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
from appliance import journal, settings
from appliance.errors import ApplianceError, SealBroken
from appliance.supervision import boot

def check(given):
    if "BROKEN_SEAL" in os.environ:
        raise SealBroken(what="a byte was changed")

given = settings.load(os.environ)
journal.configure(given.journal, "boot", strict=True)
try:
    boot.run(given, Path(sys.argv[1]), check)
except ApplianceError as error:
    sys.exit(error.exit_code)
"""

_Value = TypeVar("_Value")


def until(what: Callable[[], _Value | None]) -> _Value:
    """The first true value; gives up, saying so, after a long while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if value := what():
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")


class Appliance:
    """boot and its programs (name -> Python source) in `folder`; stdout goes to a file there."""

    def __init__(self, folder: Path, programs: dict[str, str], **environ: str) -> None:
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
                [sys.executable, "-c", BOOT, str(folder / "dummies.conf")],
                env=self.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def program(self, name: str) -> Program | None:
        """What supervisord says of a program, if it answers."""
        try:
            programs = SupervisorClient(self.run, 5.0).programs()
        except ConnectionError:
            return None
        return next(program for program in programs if program.name == name)

    def running(self, name: str) -> Program:
        """Waits until the program runs."""

        def now() -> Program | None:
            program = self.program(name)
            return program if program and program.state == "RUNNING" else None

        return until(now)

    def ended(self) -> int:
        """Waits for boot's exit code."""
        return self.boot.wait(PATIENCE_SECONDS)

    def stop(self) -> int:
        """Asks boot to stop, if it runs; its exit code."""
        if self.boot.poll() is None:
            self.boot.send_signal(signal.SIGTERM)
        return self.ended()

    def counts(self) -> dict[tuple[str, str], int]:
        """What the guard did, by action and cause."""
        told = run_folder.read_guard(self.run).get("actions", [])
        return {(it["action"], it["cause"]): it["count"] for it in told}

    def reason(self) -> dict[str, Any]:
        """What boot left for the host."""
        content: dict[str, Any] = json.loads((self.run / "reason.json").read_text())
        return content

    def lines(self) -> list[str]:
        """What boot and the programs have written so far."""
        return self.output.read_text().splitlines()
