"""The table of recovery times in pytest's summary."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DRILL = """
from tests.conftest import RECOVERY

def test_engine_ends(request):
    request.node.user_properties.append((RECOVERY, "ready after 1.5 s"))
"""


@pytest.mark.parametrize("options", [(), ("-n1",)], ids=["one process", "xdist"])
def test_recovery_time_is_in_the_summary(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "test_drill.py").write_text(DRILL)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", *options]
    done = subprocess.run(
        [*command, "-o", "testpaths=", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _, _, table = done.stdout.partition("drills: time to recovery")
    assert table.splitlines()[1].split(maxsplit=4) == ["ready", "after", "1.5", "s", "engine ends"]
