"""The gateway without TLS, tokens and limits still finds what it replaces."""

from __future__ import annotations

import subprocess
import sys


def test_everything_that_is_taken_away_is_there() -> None:
    code = "from tests.bench.bare import take_everything_away; take_everything_away()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
