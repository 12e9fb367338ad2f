"""Files, rotation, restarts and failures, on a real file system."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from appliance.audit import folder as folder_module
from appliance.audit.chain import Chain, Head
from appliance.audit.folder import AuditFolder, FolderWriter, files, lines_of
from appliance.audit.verify import verify
from appliance.errors import AuditUnavailable
from tests.audit.lines import TIME, head_of, write

LARGE = 1 << 20
WAIT_SECONDS = 60.0  # only a broken writer takes so long


def names(folder: Path) -> list[str]:
    return [path.name for path in files(folder)]


def append(folder: Path, lines: list[bytes], file_bytes: int = LARGE) -> None:
    """Run the writer of one process."""
    opened = AuditFolder(folder, file_bytes)
    for line in lines:
        opened.append(line)
    opened.close()


def test_chain_goes_on_over_rotated_files_and_restarts(tmp_path: Path) -> None:
    lines: list[bytes] = []
    for start in range(3):
        opened = AuditFolder(tmp_path, 1000)
        chain = Chain(opened.head)
        assert opened.head == (head_of(lines[-1]) if lines else Head())
        for number in range(8):
            lines.append(chain.append(TIME, "call_started", {"session": f"{start}-{number}"}))
            opened.append(lines[-1])
        opened.close()
    report = verify(lines_of(files(tmp_path)))
    assert (report.problems, report.notes) == ([], [])
    assert (report.lines, report.head) == (24, head_of(lines[-1]))
    assert len(names(tmp_path)) > 6
    assert all(path.stat().st_size <= 1000 for path in files(tmp_path))


def test_files_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("audit-1000000.jsonl", "audit-999999.jsonl", "audit-12.jsonl", "notes.txt"):
        (tmp_path / name).touch()
    assert names(tmp_path) == ["audit-999999.jsonl", "audit-1000000.jsonl"]
    append(tmp_path, write(1))
    assert names(tmp_path)[-1] == "audit-1000001.jsonl"


def test_file_is_readable_only_by_its_owner(tmp_path: Path) -> None:
    append(tmp_path, write(1))
    assert files(tmp_path)[0].stat().st_mode & 0o777 == 0o600


def test_file_of_an_earlier_start_is_left_as_it_is(tmp_path: Path) -> None:
    lines = write(5)
    append(tmp_path, lines[:3])
    first = tmp_path / "audit-000001.jsonl"
    first.write_bytes(first.read_bytes()[:-40])  # as a power failure leaves it
    before = first.read_bytes()
    opened = AuditFolder(tmp_path, LARGE)
    assert opened.head == head_of(lines[1])
    opened.append(Chain(opened.head).append(TIME, "started", {}))
    opened.close()
    assert first.read_bytes() == before
    report = verify(lines_of(files(tmp_path)))
    assert report.problems == []
    assert [note.place for note in report.notes] == ["audit-000001.jsonl:3"]


def test_folder_has_one_writer(tmp_path: Path) -> None:
    opened = AuditFolder(tmp_path, LARGE)
    with pytest.raises(AuditUnavailable, match="another appliance"):
        AuditFolder(tmp_path, LARGE)
    opened.close()
    append(tmp_path, write(1))


def test_missing_folder_is_refused_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(AuditUnavailable, match=r"nowhere: No such file or directory"):
        AuditFolder(tmp_path / "nowhere", LARGE)


def test_folder_without_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(AuditUnavailable, match="No space"):
            AuditFolder(tmp_path, LARGE)
    append(tmp_path, write(1))  # the lock was released


class FullDisk:
    """`os.write` for a disk with space for some bytes: the last write is partial."""

    def __init__(self, free_bytes: int) -> None:
        self.free_bytes = free_bytes
        self._write = os.write

    def __call__(self, file: int, text: bytes) -> int:
        if self.free_bytes <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = text[: self.free_bytes]
        self.free_bytes -= len(part)
        return self._write(file, part)


def test_full_disk_leaves_no_part_of_a_line_and_no_empty_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = write(4)
    disk = FullDisk(len(lines[0]) + 1 + 30)
    monkeypatch.setattr(os, "write", disk)
    opened = AuditFolder(tmp_path, LARGE)
    opened.append(lines[0])
    for _ in range(5):
        with pytest.raises(OSError, match="No space"):
            opened.append(lines[1])
    assert names(tmp_path) == ["audit-000001.jsonl"]
    assert files(tmp_path)[0].read_bytes() == lines[0] + b"\n"
    disk.free_bytes = LARGE
    for line in lines[1:]:
        opened.append(line)
    opened.close()
    report = verify(lines_of(files(tmp_path)))
    assert (report.problems, report.notes, report.lines) == ([], [], 4)


class Watched:
    """What a FolderWriter reports."""

    def __init__(self) -> None:
        self.errors: list[OSError | None] = []
        self.lost = 0
        self.failed, self.works = threading.Event(), threading.Event()

    def on_error(self, error: OSError | None) -> None:
        self.errors.append(error)
        (self.works if error is None else self.failed).set()

    def on_loss(self) -> None:
        self.lost += 1


def test_lines_are_written_late_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "RETRY_SECONDS", 0.01)
    disk = FullDisk(0)
    monkeypatch.setattr(os, "write", disk)
    watched, lines = Watched(), write(5)
    writer = FolderWriter(AuditFolder(tmp_path, LARGE), watched.on_error, watched.on_loss)
    for line in lines:
        writer.put(line)
    assert watched.failed.wait(WAIT_SECONDS)
    disk.free_bytes = LARGE
    assert watched.works.wait(WAIT_SECONDS)
    writer.close()
    report = verify(lines_of(files(tmp_path)))
    assert (report.problems, report.lines, watched.lost) == ([], 5, 0)
    assert len(watched.errors) == 2  # one error, however many retries


def test_lines_that_cannot_be_kept_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "MAX_WAITING_LINES", 2)
    monkeypatch.setattr(os, "write", FullDisk(0))
    watched, lines = Watched(), write(6)
    writer = FolderWriter(AuditFolder(tmp_path, LARGE), watched.on_error, watched.on_loss)
    writer.put(lines[0])
    assert watched.failed.wait(WAIT_SECONDS)  # the thread holds the first line, and waits
    for line in lines[1:]:
        writer.put(line)
    assert watched.lost == 3
    writer.close()
    assert watched.lost == 6
    AuditFolder(tmp_path, LARGE).close()  # the lock was released
