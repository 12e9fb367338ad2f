"""What an instance of a host with several cards adds to or changes in the flags of the host."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

OPS = Path(__file__).resolve().parents[2] / "ops"
PARTS = ("common.sh", "release.sh", "voicectl-host.sh", "voicectl-tls.sh", "voicectl-instances.sh")
CDI = "--device=nvidia.com/gpu="


def shell(etc: Path, instance: str, script: str) -> str:
    """Run functions of voicectl for an instance; return what they print on both streams."""
    parts = "".join(f"source {OPS / part}\n" for part in PARTS)
    text = f"INSTANCE={instance} HERE={OPS} BACKEND=engine\n{parts}{script}\n"
    done = subprocess.run(
        ["bash", "-c", text],
        env=os.environ | {"VOICE_ETC": str(etc), "VOICE_STATE": str(etc / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("instance", "flag", "expected"),
    [
        ("", "--publish=8765:8765", "--publish=8765:8765"),
        ("0", "--publish=8765:8765", "--publish=8765:8765"),
        ("3", "--publish=8765:8765", "--publish=8768:8765"),
        ("3", "--publish=127.0.0.1:9465:9465", "--publish=127.0.0.1:9468:9465"),
        ("3", "--publish=[::1]:9465:9465", "--publish=[::1]:9468:9465"),
        ("", f"{CDI}all", f"{CDI}all"),
        ("0", f"{CDI}all", f"{CDI}0"),
        ("3", f"{CDI}all", f"{CDI}3"),
        ("3", "--gpus=all", "--gpus=device=3"),
        ("3", "--memory=16g", "--memory=16g"),
        ("3", "--env=A=8765:8765", "--env=A=8765:8765"),
    ],
)
def test_instance_has_its_own_ports_and_card(
    tmp_path: Path, instance: str, flag: str, expected: str
) -> None:
    (tmp_path / "host.flags").write_text(f"# of this host\n{flag}\n")
    assert shell(tmp_path, instance, "host_flags") == f"{expected}\n"


def test_flags_of_an_instance_come_last_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "host.flags").write_text("--memory=16g\n")
    (tmp_path / "instances").mkdir()
    (tmp_path / "instances/2.flags").write_text(f"{CDI}GPU-5\n--memory=20g\n")
    wanted = f"--memory=16g\n{CDI}GPU-5\n--memory=20g\n"
    assert shell(tmp_path, "2", "host_flags") == wanted
    assert shell(tmp_path, "1", "host_flags") == "--memory=16g\n"


def test_ports_are_written_once_so_that_a_site_can_change_them(tmp_path: Path) -> None:
    shell(tmp_path, "2", "write_instance")
    path = tmp_path / "instances/2.env"
    assert path.read_text().splitlines()[1:] == ["CALLS_PORT=8767", "METRICS_PORT=9467"]
    path.write_text("CALLS_PORT=1000\n")
    shell(tmp_path, "2", "write_instance")
    assert path.read_text() == "CALLS_PORT=1000\n"
    shell(tmp_path, "10", "write_instance")
    assert shell(tmp_path, "''", "instances") == "2\n10\n"


@pytest.mark.parametrize(("seconds", "warns"), [("10", False), ("19.5", True), ("120", True)])
def test_drain_that_does_not_fit_into_the_stop_timeout_is_reported(
    tmp_path: Path, seconds: str, warns: bool
) -> None:
    (tmp_path / "appliance.env").write_text(f"VOICE_GATEWAY_DRAIN_SECONDS={seconds}\n")
    assert ("--stop-timeout=45" in shell(tmp_path, "", "warn_of_short_stop")) == warns
    (tmp_path / "host.flags").write_text("--stop-timeout=300\n")
    assert shell(tmp_path, "", "warn_of_short_stop") == ""


@pytest.mark.parametrize("seconds", ["08", "9" * 30, "a[$(touch evaluated)]", "-1"])
def test_drain_that_is_no_whole_number_is_not_computed_with(tmp_path: Path, seconds: str) -> None:
    (tmp_path / "appliance.env").write_text(f"VOICE_GATEWAY_DRAIN_SECONDS={seconds}\n")
    assert shell(tmp_path, "", f"cd {tmp_path}; warn_of_short_stop") == ""
    (tmp_path / "appliance.env").write_text("VOICE_GATEWAY_DRAIN_SECONDS=10\n")
    (tmp_path / "host.flags").write_text("--stop-timeout=08\n")
    assert shell(tmp_path, "", f"cd {tmp_path}; warn_of_short_stop") == ""
    assert not (tmp_path / "evaluated").exists()


def test_release_has_every_part_of_voicectl() -> None:
    """ops/documents.sh lists the scripts of a release."""
    voicectl = (OPS / "voicectl").read_text(encoding="utf-8")
    parts = set(re.findall(r'^source "\$HERE/(\S+)"$', voicectl, re.MULTILINE))
    assert "voicectl-instances.sh" in parts
    script = f"source {OPS / 'documents.sh'}\nprintf '%s\\n' \"${{RELEASE_SCRIPTS[@]}}\""
    listed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert parts <= set(listed.stdout.split())
