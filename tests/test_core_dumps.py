"""No process of the appliance leaves a core dump."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A process that was started by an entry point, as supervisord starts the engines.
PROGRAM = """
import os, resource, subprocess, sys
from appliance.__main__ import main
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
main(["settings", "--check"], dict(os.environ))
sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]]).returncode & 0x7F)
"""
SHOW = """
import resource
print(resource.getrlimit(resource.RLIMIT_CORE), open("/proc/self/coredump_filter").read())
"""


def test_processes_and_what_they_start_dump_no_core(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", PROGRAM, SHOW], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[-2:] == ["(0, 0) 00000000", ""]


def test_memory_is_hidden_from_processes_of_the_same_user() -> None:
    """Root may read everything, so as root both run without capabilities."""
    root = os.geteuid() == 0
    drop = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--") if root else ()
    hidden = """
import sys
from appliance import core_dumps
if sys.argv[1:] == ["hidden"]:
    core_dumps.hide_memory()
print("up", flush=True)
sys.stdin.read()
"""
    read = """
import sys
for name in ("mem", "environ", "fd/0"):
    try:
        open(f"/proc/{sys.argv[1]}/{name}", "rb").read(0)
        print("read")
    except OSError as problem:
        print(problem.strerror)
"""
    outcomes = []
    for argument in ("hidden", "shown"):
        process = subprocess.Popen(
            [*drop, sys.executable, "-c", hidden, argument],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout and process.stdout.readline()
        command = [*drop, sys.executable, "-c", read, str(process.pid)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        outcomes.append(done.stdout.split("\n")[:-1])
        process.communicate()
    assert outcomes == [["Permission denied"] * 3, ["read"] * 3]


def test_process_that_crashes_leaves_no_file(tmp_path: Path) -> None:
    crash = f"import os; os.chdir({str(tmp_path)!r}); os.kill(os.getpid(), {signal.SIGSEGV})"
    subprocess.run([sys.executable, "-c", PROGRAM, crash], cwd=ROOT, check=False)
    assert list(tmp_path.iterdir()) == []
