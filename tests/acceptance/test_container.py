"""The container checks, on recorded kernel files."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.acceptance import container

CONFINED = {
    "Name": "python",
    "Uid": "10001\t10001\t10001\t10001",
    **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16),
    "NoNewPrivs": "1",
}


def states(statuses: list[dict[str, str]]) -> list[str]:
    return [result.state for result in container.check_privileges(statuses)]


def test_confined_processes_pass() -> None:
    assert states([CONFINED, CONFINED]) == ["pass"] * 3


def test_process_with_a_privilege_fails_and_the_privilege_is_named() -> None:
    assert states([CONFINED, {**CONFINED, "Uid": "0\t0\t0\t0"}]) == ["fail", "pass", "pass"]
    assert states([{**CONFINED, "NoNewPrivs": "0"}]) == ["pass", "pass", "fail"]
    capable = {**CONFINED, "CapBnd": "00000000a80425fb"}
    assert states([CONFINED, capable]) == ["pass", "fail", "pass"]
    assert "CapBnd 00000000a80425fb" in container.check_privileges([capable])[1].found


def test_empty_process_list_fails() -> None:
    assert "pass" not in states([])


def test_writable_root_fails_and_the_last_mount_decides() -> None:
    read_only = "overlay / overlay ro,relatime 0 0\ntmpfs /run tmpfs rw,noexec 0 0\n"
    assert container.check_root(read_only).state == "pass"
    assert container.check_root(read_only + "overlay / overlay rw 0 0\n").state == "fail"
    assert container.check_root("").state == "fail"


def test_check_is_skipped_outside_the_container(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/cmdline").write_bytes(b"/sbin/init\0")
    (result,) = container.check([os.getpid()], in_container=False, proc=tmp_path)
    assert result.state == "skipped"


def test_container_is_recognised_by_its_first_process_and_exited_processes_are_ignored(
    tmp_path: Path,
) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/cmdline").write_bytes(b"python\0-m\0appliance\0boot\0")
    for name in (str(os.getpid()), "self"):
        (tmp_path / name).symlink_to(Path("/proc/self").resolve())
    exited_pid = 4194305  # above the kernel's limit
    results = container.check([os.getpid(), exited_pid], in_container=False, proc=tmp_path)
    assert len(results) == 4
    assert results[0].found.startswith("1 processes run as user")
