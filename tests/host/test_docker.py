"""ops/import into a real Docker engine, started for the test and ended by its pid."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import hosts
from tests.host.conftest import Connected
from tests.host.hosts import Host, damage
from tests.host.test_export_import import run_import

DOCKERD = shutil.which("dockerd", path=os.environ["PATH"] + ":/usr/sbin:/sbin")


@pytest.fixture
def docker(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host with a Docker engine of its own; the path of its socket has to be short.

    Skips, or in CI fails, where there is no engine to start.
    """
    if DOCKERD is None:
        reason = "DOCKER AS THE ENGINE IS NOT TESTED: NO DOCKERD ON THIS MACHINE"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with hosts.host(tmp_path_factory.mktemp("docker")) as host:
        socket = f"unix://{host.folder}/s"
        # fmt: off
        command = [
            str(DOCKERD), "--data-root", f"{host.folder}/images", "--exec-root", f"{host.folder}/x",
            "--host", socket, "--pidfile", f"{host.folder}/pid",
            "--iptables=false", "--bridge=none",
        ]
        # fmt: on
        client = shutil.which("docker")
        host.program("docker", f'exec {client} --host {socket} "$@"')
        with (host.folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 60
            while host.run("docker", "info").returncode != 0 and time.monotonic() < until:
                time.sleep(0.3)
            yield host
        finally:
            process.terminate()
            process.wait(300)


def ids(on: Host) -> set[str]:
    return set(on.must("docker", "images", "--all", "--quiet", "--no-trunc").split())


def test_docker_imports_a_release_and_then_a_delta_with_the_same_ids(
    connected: Connected, carried: Path, docker: Host
) -> None:
    answer = run_import(docker, carried, "--engine", "docker", "--prove")
    assert answer.returncode == 0, answer.stderr
    assert ids(docker) == {connected.id_one}
    answer = run_import(docker, connected.delta, "--engine", "docker")
    assert answer.returncode == 0, answer.stderr
    assert "proved: every byte read back from docker" in answer.stdout
    assert ids(docker) == {connected.id_one, connected.id_two}
    again = run_import(docker, carried, "--engine", "docker")
    assert "already imported: loading nothing" in again.stdout


def test_docker_keeps_nothing_of_a_refused_release(
    connected: Connected, carried: Path, docker: Host
) -> None:
    answer = run_import(docker, connected.delta, "--engine", "docker")
    assert answer.returncode == 1
    assert "wrong base" in answer.stderr
    damage(carried / "image-002.part")
    answer = run_import(docker, carried, "--engine", "docker")
    assert answer.returncode == 1
    assert "image-002.part is damaged" in answer.stderr
    assert ids(docker) == set()


def test_preflight_reports_the_store_of_docker(connected: Connected, docker: Host) -> None:
    answer = docker.run(
        connected.full / "preflight", "--engine", "docker", "--only", "engine,store,space"
    )
    assert answer.returncode == 0, answer.stdout
    assert f"overlay2 in {docker.images}" in " ".join(answer.stdout.split())
