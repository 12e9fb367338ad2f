"""What the kernel shows of a sealed container, and of one that is not."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.acceptance import container

SEALED = {
    "Name": "python",
    "Uid": "10001\t10001\t10001\t10001",
    **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16),
    "NoNewPrivs": "1",
}


def states(statuses: list[dict[str, str]]) -> list[str]:
    return [result.state for result in container.rights(statuses)]


def test_processes_without_any_right_pass() -> None:
    assert states([SEALED, SEALED]) == ["pass"] * 3


def test_one_process_with_a_right_fails_and_the_right_is_named() -> None:
    assert states([SEALED, {**SEALED, "Uid": "0\t0\t0\t0"}]) == ["fail", "pass", "pass"]
    assert states([{**SEALED, "NoNewPrivs": "0"}]) == ["pass", "pass", "fail"]
    bound = {**SEALED, "CapBnd": "00000000a80425fb"}
    assert states([SEALED, bound]) == ["pass", "fail", "pass"]
    assert "CapBnd 00000000a80425fb" in container.rights([bound])[1].found


def test_no_processes_prove_nothing() -> None:
    assert "pass" not in states([])


def test_a_writable_root_is_noticed_and_the_last_mount_counts() -> None:
    sealed = "overlay / overlay ro,relatime 0 0\ntmpfs /run tmpfs rw,noexec 0 0\n"
    assert container.root(sealed).state == "pass"
    assert container.root(sealed + "overlay / overlay rw 0 0\n").state == "fail"
    assert container.root("").state == "fail"


def test_outside_of_the_container_nothing_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/cmdline").write_bytes(b"/sbin/init\0")
    (skipped,) = container.check([os.getpid()], told=False, proc=tmp_path)
    assert skipped.state == "skipped"


def test_inside_it_the_processes_are_looked_at_by_the_kernels_own_files(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/cmdline").write_bytes(b"python\0-m\0appliance\0boot\0")
    for name in (str(os.getpid()), "self"):
        (tmp_path / name).symlink_to(Path("/proc/self").resolve())
    gone = 4194305  # above the kernel's limit
    found = container.check([os.getpid(), gone], told=False, proc=tmp_path)
    assert len(found) == 4
    assert found[0].found.startswith("1 processes as user")
