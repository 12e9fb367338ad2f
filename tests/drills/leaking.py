"""python -m tests.drills.leaking boot | tts: the appliance, with a tts that leaks on demand.

`boot` runs supervisord with the shipped configuration, except that tts's command is this module. It
runs the real process, and allocates more and more memory once a flag file exists. It deletes the
file when it starts to leak, so the restarted process is healthy.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from pathlib import Path

from appliance.__main__ import main
from appliance.supervision import boot

FLAG = "leak"  # file in the run folder
STEP_BYTES = 50_000_000  # per half second
MAX_BYTES = 2_000_000_000  # the guard reacts long before
_COMMAND = r"(\[program:tts\]\ncommand=.*? -m) appliance tts"


def variant(folder: Path) -> Path:
    """Write the shipped configuration with this module as tts; its path."""
    text, changed = re.subn(_COMMAND, r"\1 tests.drills.leaking tts", boot.CONF.read_text())
    assert changed == 1
    path = folder / "supervisord.conf"
    path.write_text(text)
    return path


def _leak(flag: Path) -> None:
    while not flag.exists():
        time.sleep(0.2)
    flag.unlink()
    leak: list[bytes] = []
    while len(leak) * STEP_BYTES < MAX_BYTES:
        leak.append(os.urandom(1) * STEP_BYTES)
        time.sleep(0.5)


if __name__ == "__main__":
    verb = sys.argv[1]
    run = Path(os.environ["VOICE_PATHS_RUN"])
    if verb == "boot":
        run.mkdir(parents=True, exist_ok=True)
        boot.CONF = variant(run)
    else:
        threading.Thread(target=_leak, args=[run / FLAG], daemon=True).start()
    sys.exit(main([verb], os.environ))
