"""ops/smoke-test with a fake container engine, whose `exec` runs commands on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.acceptance.options import CHECKS
from appliance.gpu_proof.record_file import read

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "ops/smoke-test"
IMAGE = "ab" * 32
ENGINE = f"""#!/usr/bin/env bash
case $1 in
    container) [[ ! $STATE ]] || echo "$STATE" ;;&
    container) [[ $STATE ]] ;;
    exec)
        [[ $2 == --interactive && $3 == "$CONTAINER" && $4 == python ]] || exit 125
        cd {ROOT} && shift 4
        exec "$PROGRAM" "$@" ;;
esac
"""
SKIP_ALL = ("--skip", ",".join(CHECKS))


class SmokeTestHost:
    """A simulated host with a container."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = f"true {IMAGE}"
        self.container = "voice-appliance"
        self.program = sys.executable
        (folder / "bin").mkdir()
        engine = folder / "bin/podman"
        engine.write_text(ENGINE)
        engine.chmod(0o755)
        (folder / "token").write_text("a-token-of-sixteen")

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        clean = {name: text for name, text in os.environ.items() if not name.startswith("VOICE_")}
        return subprocess.run(
            [str(SCRIPT), *words],
            env=clean
            | {
                "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "STATE": self.state,
                "CONTAINER": self.container,
                "PROGRAM": self.program,
                "VOICE_ETC": str(self.folder / "etc"),
                "VOICE_STATE": str(self.folder / "state"),
            }
            | environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def set_program(self, script: str) -> None:
        """Replace the program in the container with a shell script."""
        program = self.folder / "inside"
        settings = {
            "VOICE_GATEWAY_TOKEN_FILE": self.folder / "token",
            "VOICE_PATHS_LOCK": ROOT / "image-manifest.lock",
        }
        lines = "".join(f"export {name}={value}\n" for name, value in settings.items())
        unset = "unset VOICE_ETC VOICE_STATE\n"
        program.write_text(f"#!/usr/bin/env bash\n{unset}{lines}{script}\n")
        program.chmod(0o755)
        self.program = str(program)

    def reports(self, suffix: str) -> list[Path]:
        return sorted((self.folder / "state/reports").glob(f"smoke-test-*{suffix}"))


@pytest.fixture
def host(tmp_path: Path) -> SmokeTestHost:
    host = SmokeTestHost(tmp_path)
    host.set_program(f'exec {sys.executable} "$@"')
    return host


def test_checks_run_in_the_container_and_the_report_is_on_the_host(host: SmokeTestHost) -> None:
    result = host.run(*SKIP_ALL)
    assert result.returncode == 0, result.stderr
    (report,) = host.reports("-passed.json")
    about = json.loads(report.read_text())["about"]
    assert about["image_id"] == f"sha256:{IMAGE}"
    assert about["container"] == "voice-appliance"
    assert about["host"] == os.uname().nodename
    assert [path.suffix for path in host.reports("")] == [".html", ".sig", ".json", ".sig"]
    assert f"Report: {report.with_suffix('.html')}" in result.stdout
    (record,) = report.parent.glob("latency-record-*.json")
    assert read(record).tool == "smoke-test"
    assert "created a key for this site" in result.stderr
    assert not list((host.folder / "state/reports").glob(".partial*"))


def test_docker_image_id_is_reported_in_the_format_of_podman(host: SmokeTestHost) -> None:
    host.state = f"true sha256:{IMAGE}"
    host.container = "other"
    (host.folder / "bin/podman").rename(host.folder / "bin/docker")
    result = host.run(*SKIP_ALL, "--engine=docker", "--container=other", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["about"]["image_id"] == f"sha256:{IMAGE}"


def test_site_key_is_created_once_and_can_be_replaced_by_an_option(host: SmokeTestHost) -> None:
    host.run(*SKIP_ALL)
    key = (host.folder / "etc/site_key").read_bytes()
    again = host.run(*SKIP_ALL)
    assert "created a key" not in again.stderr
    assert (host.folder / "etc/site_key").read_bytes() == key
    host.run(*SKIP_ALL, "--key", str(host.folder / "mine"), "--out", "elsewhere")
    assert (host.folder / "mine").exists()
    assert list((host.folder / "elsewhere").glob("*.html.sig"))


def test_failed_check_exits_with_1_and_names_the_report_failed(
    host: SmokeTestHost,
) -> None:
    result = host.run("--wait=0", "--skip=egress")  # fails because no appliance is running
    assert result.returncode == 1
    assert "NOT ACCEPTED" in result.stdout + result.stderr
    assert host.reports("-failed.json")
    assert host.reports("-failed.html.sig")


@pytest.mark.parametrize(
    ("state", "message"),
    [("", "container voice-appliance does not exist"), (f"false {IMAGE}", "is not running")],
)
def test_missing_or_stopped_container_is_refused(
    host: SmokeTestHost, state: str, message: str
) -> None:
    host.state = state
    result = host.run()
    assert result.returncode == 1
    assert message in result.stderr
    assert not host.reports("")


def test_crashed_checks_leave_no_report(host: SmokeTestHost) -> None:
    host.set_program("exit 137")
    result = host.run()
    assert result.returncode == 1
    assert "could not be run (exit code 137)" in result.stderr
    assert not host.reports(".json")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--speed"], "unknown option --speed"),
        (["--turns"], "--turns needs a value"),
        (["voice.example"], "is not a URL"),
        (["--engine=lxc"], "must be podman or docker"),
    ],
)
def test_invalid_option_is_refused(host: SmokeTestHost, words: list[str], message: str) -> None:
    result = host.run(*words)
    assert result.returncode == 1
    assert message in result.stderr


def test_unknown_check_is_refused_with_the_choices(host: SmokeTestHost) -> None:
    result = host.run("--skip=sela")
    assert result.returncode == 1
    assert "invalid choice: 'sela' (choose from ready, seal," in result.stderr
    assert "could not be run (exit code 2)" in result.stderr
    assert not host.reports("")


def test_help_lists_every_check_and_every_option(host: SmokeTestHost) -> None:
    help_text = host.run("--help").stdout
    assert help_text.startswith("Acceptance test of a running appliance")
    for name in CHECKS:
        assert name in help_text
    for line in SCRIPT.read_text().splitlines():
        if line.lstrip().startswith("--") and ")" in line and "fatal" not in line:
            for option in line.split(")")[0].split("|"):
                assert option.strip() in help_text


def test_appliance_of_this_folder_is_found_through_a_symlink(
    tmp_path: Path,
) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    shutil.copytree(SCRIPT.parent, real / "ops")
    link.symlink_to(real)
    python = real / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "run folder $VOICE_PATHS_RUN" >&2\nexit 3\n')
    python.chmod(0o755)
    clean = {name: text for name, text in os.environ.items() if not name.startswith("VOICE_")}
    running = subprocess.Popen(
        ["bash", "-c", "read -r", "-m", "appliance", "boot"],
        stdin=subprocess.PIPE,
        cwd=real,
        env=clean | {"VOICE_PATHS_RUN": "/run/of this appliance"},
    )

    def run() -> subprocess.CompletedProcess[str]:
        command = [str(link / "ops/smoke-test"), "--here", "--out", str(tmp_path / "reports")]
        environ = clean | {"VOICE_ETC": str(tmp_path / "etc")}
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, check=False, timeout=120
        )

    try:
        while_running = run()
    finally:
        running.communicate()
    assert "run folder /run/of this appliance" in while_running.stderr
    assert "could not be run (exit code 3)" in while_running.stderr
    stopped = run()
    assert stopped.returncode == 1
    assert "no appliance runs from this folder; start one with make run" in stopped.stderr
