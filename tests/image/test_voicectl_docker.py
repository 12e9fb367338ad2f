"""voicectl on a host that has Docker in place of podman: the same, by a real Docker engine."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.image import hosts, running
from tests.image.hosts import Host
from tests.image.running import NAME, ONE, TWO, Release, Site
from tests.image.test_docker import docker, pytestmark

__all__ = ["docker", "pytestmark"]

BROKEN = Release("0.2.1", "broken")


@pytest.fixture
def site(docker: Host) -> Iterator[Site]:
    with hosts.host(docker.folder / "built") as built:
        running.build(built, ONE, TWO, BROKEN)
        for release in (ONE, TWO, BROKEN):
            archive = built.folder / f"{release.version}.tar"
            built.must("podman", "save", "--quiet", "--output", archive, release.tag)
            docker.must("docker", "load", "--quiet", "--input", archive)
    client = (docker.folder / "bin/docker").read_text().split("\n", 1)[1]
    with running.fresh(Site(docker, "docker")) as made:
        yield made
        docker.program("docker", client)


def test_docker_is_found_by_its_images_and_does_all_that_podman_does(site: Site) -> None:
    assert site.ctl("status").returncode == 4
    site.does("activate", "0.1.0")
    site.does("activate", "0.2.0")
    assert site.serves == "0.2.0"
    told = json.loads(site.does("status", "--json"))
    assert (told["engine"], told["state"]) == ("docker", "active")
    assert told["current"]["id"] == told["running_image_id"] == f"sha256:{site.id('current')}"
    assert "short: appliance started" in site.does("logs")
    assert "0.2.0-cpu            current" in site.does("releases")

    answer = site.ctl("activate", "0.2.1")
    assert answer.returncode == 10
    assert "it ended with exit code 78: The setting gateway.port" in answer.stderr
    assert site.serves == "0.2.0"
    site.does("rollback")
    assert site.serves == "0.1.0"

    site.does("stop")
    answer = site.ctl("status")
    assert answer.returncode == 3
    assert "inactive (dead)\n     Since: " in answer.stdout
    assert "short: appliance stopped" in site.does("logs")
    assert site.of_engine("ps", "--all", "--format", "{{.Names}}").split() == [
        NAME,
        f"{NAME}-last",
    ]


def test_a_first_release_that_fails_leaves_docker_with_its_image_and_no_tag(site: Site) -> None:
    answer = site.ctl("activate", "0.2.1")
    assert answer.returncode == 10
    assert site.slots == ("", "")
    assert site.id("0.2.1-cpu")
