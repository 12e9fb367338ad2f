"""ops/smoke-test as an operator meets it, with an engine that passes `exec` on to this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.acceptance.site import NAMES

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
NOTHING = ("--skip", ",".join(NAMES))


class Operator:
    """Types commands on a host with a container in some state."""

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

    def types(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
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

    def inside(self, script: str) -> None:
        """What the program in the container does."""
        program = self.folder / "inside"
        settings = {
            "VOICE_GATEWAY_TOKEN_FILE": self.folder / "token",
            "VOICE_PATHS_LOCK": ROOT / "image-manifest.lock",
        }
        lines = "".join(f"export {name}={value}\n" for name, value in settings.items())
        strangers = "unset VOICE_ETC VOICE_STATE\n"
        program.write_text(f"#!/usr/bin/env bash\n{strangers}{lines}{script}\n")
        program.chmod(0o755)
        self.program = str(program)

    def reports(self, ending: str) -> list[Path]:
        return sorted((self.folder / "state/reports").glob(f"smoke-test-*{ending}"))


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    made = Operator(tmp_path)
    made.inside(f'exec {sys.executable} "$@"')
    return made


def test_the_checks_are_made_inside_and_the_report_is_kept_on_the_host(operator: Operator) -> None:
    done = operator.types(*NOTHING)
    assert done.returncode == 0, done.stderr
    (report,) = operator.reports("-passed.json")
    about = json.loads(report.read_text())["about"]
    assert about["image_id"] == f"sha256:{IMAGE}"
    assert about["container"] == "voice-appliance"
    assert about["host"] == os.uname().nodename
    assert [path.suffix for path in operator.reports("")] == [".html", ".sig", ".json", ".sig"]
    assert f"Report: {report.with_suffix('.html')}" in done.stdout
    assert "made a key for this site" in done.stderr
    assert not list((operator.folder / "state/reports").glob(".partial*"))


def test_docker_says_what_the_image_is_in_its_own_way(operator: Operator) -> None:
    operator.state = f"true sha256:{IMAGE}"
    operator.container = "other"
    (operator.folder / "bin/podman").rename(operator.folder / "bin/docker")
    done = operator.types(*NOTHING, "--engine=docker", "--container=other", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["about"]["image_id"] == f"sha256:{IMAGE}"


def test_the_key_of_the_site_is_made_once_and_another_can_be_named(operator: Operator) -> None:
    operator.types(*NOTHING)
    made = (operator.folder / "etc/site_key").read_bytes()
    again = operator.types(*NOTHING)
    assert "made a key" not in again.stderr
    assert (operator.folder / "etc/site_key").read_bytes() == made
    operator.types(*NOTHING, "--key", str(operator.folder / "mine"), "--out", "elsewhere")
    assert (operator.folder / "mine").exists()
    assert list((operator.folder / "elsewhere").glob("*.html.sig"))


def test_a_failed_check_is_told_by_the_exit_code_and_in_the_reports_name(
    operator: Operator,
) -> None:
    done = operator.types("--wait=0", "--skip=egress")  # nothing runs there
    assert done.returncode == 1
    assert "NOT ACCEPTED" in done.stdout + done.stderr
    assert operator.reports("-failed.json")
    assert operator.reports("-failed.html.sig")


@pytest.mark.parametrize(
    ("state", "words"), [("", "no container voice-appliance"), (f"false {IMAGE}", "does not run")]
)
def test_without_a_running_container_nothing_is_tested(
    operator: Operator, state: str, words: str
) -> None:
    operator.state = state
    done = operator.types()
    assert done.returncode == 1
    assert words in done.stderr
    assert not operator.reports("")


def test_checks_that_broke_off_leave_no_report_and_say_so(operator: Operator) -> None:
    operator.inside("exit 137")
    done = operator.types()
    assert done.returncode == 1
    assert "could not be made (exit code 137)" in done.stderr
    assert not operator.reports(".json")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--speed"], "unknown option --speed"),
        (["--turns"], "--turns needs a value"),
        (["voice.example"], "no URL"),
        (["--engine=lxc"], "podman or docker"),
    ],
)
def test_what_is_not_understood_is_refused(operator: Operator, words: list[str], said: str) -> None:
    done = operator.types(*words)
    assert done.returncode == 1
    assert said in done.stderr


def test_help_names_every_check_and_every_option(operator: Operator) -> None:
    shown = operator.types("--help").stdout
    assert shown.startswith("The acceptance of a running appliance")
    for name in NAMES:
        assert name in shown
    for line in SCRIPT.read_text().splitlines():
        if line.lstrip().startswith("--") and ")" in line and "fatal" not in line:
            for option in line.split(")")[0].split("|"):
                assert option.strip() in shown


def test_what_runs_out_of_this_folder_is_found_by_whatever_name_the_folder_is_called(
    tmp_path: Path,
) -> None:
    real, name = tmp_path / "real", tmp_path / "name"
    shutil.copytree(SCRIPT.parent, real / "ops")
    name.symlink_to(real)
    python = real / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "told $VOICE_PATHS_RUN" >&2\nexit 3\n')
    python.chmod(0o755)
    clean = {name: text for name, text in os.environ.items() if not name.startswith("VOICE_")}
    running = subprocess.Popen(
        ["bash", "-c", "read -r", "-m", "appliance", "boot"],
        stdin=subprocess.PIPE,
        cwd=real,
        env=clean | {"VOICE_PATHS_RUN": "/run/of the house"},
    )

    def types() -> subprocess.CompletedProcess[str]:
        command = [str(name / "ops/smoke-test"), "--here", "--out", str(tmp_path / "reports")]
        environ = clean | {"VOICE_ETC": str(tmp_path / "etc")}
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, check=False, timeout=120
        )

    try:
        found = types()
    finally:
        running.communicate()
    assert "told /run/of the house" in found.stderr
    assert "could not be made (exit code 3)" in found.stderr
    gone = types()
    assert gone.returncode == 1
    assert "no appliance runs out of this folder: make run" in gone.stderr
