"""voicectl on a host with several instances: each has its own container, release and records."""

from __future__ import annotations

import json

import pytest

from tests.host.running import NAME, ONE, TWO, OperatedHost, Release
from tests.host.test_voicectl_activation import MARK

BROKEN = Release("0.2.1", "broken")
RELEASES = (ONE, TWO, BROKEN)


def version_of(site: OperatedHost, instance: int) -> str:
    """The version that the container of an instance runs; empty if it is not ready."""
    ready = site.host.run(
        site.engine, "exec", f"{NAME}-{instance}", "python", "-m", "appliance", "health"
    )
    if ready.returncode:
        return ""
    return site.run_engine("exec", f"{NAME}-{instance}", "cat", "/opt/voice/version")


@pytest.fixture
def two(site: OperatedHost) -> OperatedHost:
    """A host with instance 0 on release 0.1.0, and instance 1 on 0.2.0."""
    site.must("--instance", "0", "activate", "0.1.0")
    site.must("--instance", "1", "activate", "0.2.0")
    return site


def test_each_instance_has_its_own_release_container_and_records(two: OperatedHost) -> None:
    assert (version_of(two, 0), version_of(two, 1)) == ("0.1.0", "0.2.0")
    assert (two.id("current-0"), two.id("current-1")) == (two.id("0.1.0-cpu"), two.id("0.2.0-cpu"))
    assert two.slots == ("", "")
    for instance in "01":
        log = (two.state / "instances" / instance / "activations.log").read_text()
        assert log.count(" done activate ") == 1
    ports = (two.etc / "instances/1.env").read_text().splitlines()
    assert ports[1:] == ["CALLS_PORT=8766", "METRICS_PORT=9466"]
    assert "0.1.0-cpu" in two.must("--instance", "0", "status")
    assert two.must("releases").count("sha256:") == len(RELEASES)


def test_failed_activation_rolls_back_only_its_instance(two: OperatedHost) -> None:
    other = two.run_engine("inspect", "--format", "{{.Id}}", f"{NAME}-0")
    answer = two.ctl("--instance", "1", "activate", BROKEN.version)
    assert answer.returncode == 10
    assert version_of(two, 1) == "0.2.0"
    assert two.run_engine("inspect", "--format", "{{.Id}}", f"{NAME}-0") == other
    two.must("--instance", "0", "activate", "0.2.0")
    two.must("--instance", "0", "rollback")
    assert (version_of(two, 0), version_of(two, 1)) == ("0.1.0", "0.2.0")


def test_release_starts_closed_only_in_its_instance(two: OperatedHost) -> None:
    look = "podman exec {name}-{number} cat {mark} && touch marked-{number}"
    two.set_smoke_test(
        "; ".join(look.format(name=NAME, number=number, mark=MARK) for number in "10") + "; true"
    )
    two.must("--instance", "0", "activate", "0.2.0")
    assert [(two.host.folder / f"marked-{number}").exists() for number in "01"] == [True, False]
    assert not two.is_closed(f"{NAME}-0")


def test_status_shows_all_instances_and_the_highest_exit_code(two: OperatedHost) -> None:
    shown = two.must("status").splitlines()
    assert [line.split()[1:4] for line in shown] == [
        ["instance", "0", "0.1.0-cpu"],
        ["instance", "1", "0.2.0-cpu"],
    ]
    two.must("--instance", "1", "stop")
    answer = two.ctl("status")
    assert answer.returncode == 3
    assert "inactive" in answer.stdout.splitlines()[1]
    tree = json.loads(two.ctl("status", "--json").stdout)["instances"]
    assert [tree[name]["state"] for name in "01"] == ["active", "inactive"]
    assert "instance 0: current: 0.1.0-cpu" in two.ctl("status", "--plain").stdout


def test_command_for_one_appliance_asks_for_the_instance(two: OperatedHost) -> None:
    for command in ("start", "stop", "drain", "open", "rollback"):
        answer = two.ctl(command)
        assert answer.returncode == 1
        assert "this host has instances: add --instance N" in answer.stderr
        assert "Instances: 0 1" in answer.stderr
    assert (version_of(two, 0), version_of(two, 1)) == ("0.1.0", "0.2.0")


def test_smoke_test_is_that_of_the_instance(site: OperatedHost) -> None:
    site.set_smoke_test('echo "$*" >seen')
    site.must("--instance", "1", "activate", "0.1.0")
    seen = (site.host.folder / "seen").read_text()
    assert f"--container {NAME}-1" in seen
    assert f"--out {site.state}/instances/1/reports" in seen


@pytest.mark.parametrize("number", ["x", "-1", "01", "100", ""])
def test_instance_is_a_small_number(site: OperatedHost, number: str) -> None:
    answer = site.ctl("--instance", number, "status")
    assert answer.returncode == (4 if not number else 1)
    assert not number or "--instance is the number of a card" in answer.stderr
