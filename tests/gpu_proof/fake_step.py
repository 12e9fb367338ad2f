"""A step that measures one value and then does what its first argument says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from appliance.gpu_proof.results import Results, parse

*argv, behaviour = sys.argv[1:]
options = parse("fake", None, argv)
results = Results(options.results, options.seconds)
results.measure("speed", [1.0, 3.0], "ms", device=options.device)
results.note("a note")
if behaviour == "measures part of it":
    with results.attempt("second part"):
        raise RuntimeError("no kernel image is available\nfor this card")
elif behaviour == "crashes":
    raise SystemExit("illegal memory access")
elif behaviour == "is killed":
    os.kill(os.getpid(), signal.SIGKILL)
elif behaviour == "hangs":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    partial = options.scratch / "partial"
    partial.write_text(str(child.pid))
    partial.rename(options.scratch / "child")
    time.sleep(600)
elif behaviour == "writes to scratch":
    Path(options.scratch / "large").write_text("x")
