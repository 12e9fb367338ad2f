"""The search for words finds them wherever a process can leave them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import written

PROGRAM = """
import os, sys, tempfile
memory = os.memfd_create("buffer")
os.write(memory, b"in a memory file: Zanzibar")
removed = tempfile.TemporaryFile(dir=sys.argv[1])
removed.write(b"in a removed file: ZANZIBAR")
removed.flush()
print("up", flush=True)
sys.stdin.read()
"""


def test_word_is_found_in_files_open_files_arguments_and_variables(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a zanzibar b")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), "zanzibar"],
        env=os.environ | {"WORD": "zanzibar"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout and process.stdout.readline()
    sources = dict([*written.files_below(tmp_path), *written.shown_by(process.pid)])
    found = " ".join(written.find(["Zanzibar"], sources))
    process.communicate()
    for place in (f"{tmp_path}/kept", "cmdline of", "environ of", "memfd:buffer", f"{tmp_path}/#"):
        assert place in found, found
    assert written.find(["zanzibars"], sources) == []
