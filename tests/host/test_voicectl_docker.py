"""voicectl on a host with a real Docker engine in place of podman."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.host import hosts, running
from tests.host.hosts import Host
from tests.host.running import NAME, ONE, TWO, OperatedHost, Release
from tests.host.test_docker import docker

__all__ = ["docker"]

BROKEN = Release("0.2.1", "broken")


@pytest.fixture
def site(docker: Host) -> Iterator[OperatedHost]:
    with hosts.host(docker.folder / "built") as built:
        running.build(built, ONE, TWO, BROKEN)
        for release in (ONE, TWO, BROKEN):
            archive = built.folder / f"{release.version}.tar"
            built.must("podman", "save", "--quiet", "--output", archive, release.tag)
            docker.must("docker", "load", "--quiet", "--input", archive)
    client = (docker.folder / "bin/docker").read_text().split("\n", 1)[1]
    with running.fresh(OperatedHost(docker, "docker")) as site:
        yield site
        docker.program("docker", client)


def test_docker_is_found_by_its_images_and_works_like_podman(site: OperatedHost) -> None:
    assert site.ctl("status").returncode == 4
    site.must("activate", "0.1.0")
    site.must("activate", "0.2.0")
    assert site.serves == "0.2.0"
    tree = json.loads(site.must("status", "--json"))
    assert (tree["engine"], tree["state"]) == ("docker", "active")
    assert tree["current"]["id"] == tree["running_image_id"] == f"sha256:{site.id('current')}"
    assert "short: appliance started" in site.must("logs")
    assert "0.2.0-cpu            current" in site.must("releases")

    answer = site.ctl("activate", "0.2.1")
    assert answer.returncode == 10
    assert "it stopped with exit code 78: The setting gateway.port" in answer.stderr
    assert site.serves == "0.2.0"
    site.must("rollback")
    assert site.serves == "0.1.0"

    site.must("stop")
    answer = site.ctl("status")
    assert answer.returncode == 3
    assert "inactive (dead)\n     Since: " in answer.stdout
    assert "short: appliance stopped" in site.must("logs")
    assert site.run_engine("ps", "--all", "--format", "{{.Names}}").split() == [
        NAME,
        f"{NAME}-last",
    ]


def test_failed_first_release_leaves_its_image_and_no_slot(
    site: OperatedHost,
) -> None:
    answer = site.ctl("activate", "0.2.1")
    assert answer.returncode == 10
    assert site.slots == ("", "")
    assert site.id("0.2.1-cpu")
