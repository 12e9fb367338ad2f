"""`audit verify` and `audit head` as an operator types them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from appliance.audit.folder import AuditFolder, files
from tests.audit.lines import file, head_of, write

ROOT = Path(__file__).parents[2]
LINES = write(6)
HEAD = head_of(LINES[-1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the six lines in two files."""
    folder = tmp_path / "audit"
    folder.mkdir()
    for part in (LINES[:4], LINES[4:]):
        opened = AuditFolder(folder, 1 << 20)
        for line in part:
            opened.append(line)
        opened.close()
    return folder


def audit(
    *arguments: str | Path, stdin: bytes = b"", folder: Path | str = ""
) -> tuple[int, str, str]:
    """Run `python -m appliance audit`; return exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "audit", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "VOICE_AUDIT_FOLDER": str(folder)},
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


INTACT = f"the chain is intact: 6 lines\nhead: 6 {HEAD.hash}\n"


def test_folder_of_the_settings_is_checked_while_the_appliance_writes_there(folder: Path) -> None:
    writer = AuditFolder(folder, 1 << 20)
    assert audit("verify", folder=folder) == (0, INTACT, "")
    assert audit("head", folder=folder) == (0, f"6 {HEAD.hash}\n", "")
    writer.close()


def test_problem_is_printed_with_file_and_line_and_the_exit_code_is_1(folder: Path) -> None:
    first, second = files(folder)
    first.write_bytes(first.read_bytes().replace(b'"s2"', b'"s3"'))
    second.write_bytes(b"".join(file(LINES[5:])))
    code, out, _ = audit("verify", first, second)
    assert code == 1
    assert out == (
        "PROBLEM: audit-000001.jsonl:3: the line was changed: its hash does not match its content\n"
        "PROBLEM: audit-000002.jsonl:1: number 5 is missing before this line\n"
        "the chain is broken: 2 problems\n"
    )


def test_line_that_was_cut_off_is_a_note(folder: Path) -> None:
    last = files(folder)[-1]
    last.write_bytes(last.read_bytes()[:-20])
    code, out, _ = audit("verify", folder=folder)
    assert code == 0
    assert out.startswith("note: audit-000002.jsonl:2: the line is incomplete")


def test_tar_is_read_with_the_names_of_its_files(folder: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in files(folder):
            archive.add(path)
    assert audit("verify", "--tar", stdin=content.getvalue()) == (0, INTACT, "")
    files(folder)[0].write_bytes(b"".join(file(LINES[:3])))
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in files(folder):
            archive.add(path)
    code, out, _ = audit("verify", "--tar", stdin=content.getvalue())
    assert code == 1 and "audit-000002.jsonl:1: number 4 is missing" in out


def test_log_is_read_if_there_is_no_folder(folder: Path) -> None:
    log = b"podman: text\n" + b"".join(file(LINES)) + b'{"event":"gateway stopped"}\n'
    assert audit("verify", stdin=log) == (0, INTACT, "")
    assert audit("verify", "--log", stdin=log, folder=folder) == (0, INTACT, "")
    code, out, _ = audit("verify", stdin=log + b"".join(file(write(1, session="again"))))
    assert code == 0
    assert "note: log:9: a new chain begins here" in out
    assert "2 chains are intact: 7 lines" in out


def test_noted_hash_has_to_be_in_the_chain(folder: Path) -> None:
    noted = head_of(LINES[2]).hash
    assert audit("verify", "--noted", noted, folder=folder)[0] == 0
    code, out, _ = audit("verify", "--noted", "0" * 63 + "1", folder=folder)
    assert code == 1 and "no line has the noted hash" in out
    assert audit("verify", "--noted", "5f2d", folder=folder)[0] == 2


def test_empty_log_is_not_intact() -> None:
    assert audit("verify")[0] == 1
    assert audit("head")[0] == 1


def test_unreadable_input_has_its_own_exit_code(tmp_path: Path) -> None:
    for arguments in (["verify", str(tmp_path / "missing")], ["verify", "--tar"]):
        code, out, err = audit(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("cannot read the audit log: ")
    assert audit("verify", folder=tmp_path / "missing")[0] == 2
