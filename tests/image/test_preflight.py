"""ops/preflight on hosts of all kinds: what it finds, what it wants, what it says to do."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.image import hosts
from tests.image.conftest import Connected
from tests.image.hosts import OPS, Host
from tests.image.sealed import USER

RECORDED = Path(__file__).parent / "recorded"
ALL = ["engine", "store", "space", "base", "port", "clock", "certificate", "key", "token"]
GPU = ["driver", "capability", "memory", "memory-free", "injection"]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with hosts.host(tmp_path / "host") as made:
        made.program("timedatectl", "echo yes")
        yield made


def looked_at(on: Host, *options: str | Path, **environ: str) -> dict[str, dict[str, Any]]:
    """Every check by its id."""
    answer = on.run(OPS / "preflight", "--json", *options, **environ)
    report = json.loads(answer.stdout)
    states = [check["state"] for check in report["checks"]]
    assert answer.returncode == (1 if "fail" in states else 0)
    assert [report[name] for name in ("passed", "warned", "failed")] == [
        states.count(state) for state in ("pass", "warn", "fail")
    ]
    for check in report["checks"]:
        assert check["found"] and check["wanted"]
        assert bool(check["to_do"]) == (check["state"] != "pass"), check
    return {check["id"]: check for check in report["checks"]}


def with_card(on: Host, recorded: str) -> None:
    """This host's nvidia-smi answers as recorded; what is no table comes with an error."""
    path = RECORDED / recorded
    on.program("nvidia-smi", f"cat {path}; exit {0 if path.suffix == '.csv' else 9}")


def with_cdi(on: Host, driver: str) -> dict[str, str]:
    folder = on.folder / "cdi"
    folder.mkdir()
    (folder / "nvidia.yaml").write_text(
        f"kind: nvidia.com/gpu\nhostPath: /usr/lib/libcuda.so.{driver}\n"
    )
    return {"VOICE_CDI_FOLDERS": str(folder)}


@pytest.mark.parametrize("card", ["l4.csv", "a10.csv"])
def test_a_host_with_the_right_card_passes_every_check_of_the_card(host: Host, card: str) -> None:
    with_card(host, card)
    driver = (RECORDED / card).read_text().split(", ")[1]
    found = looked_at(host, "--profile", "gpu", **with_cdi(host, driver))
    assert list(found) == ALL + GPU
    assert {found[name]["state"] for name in GPU} == {"pass"}


def test_without_a_card_each_check_of_it_says_to_install_the_driver(host: Host) -> None:
    with_card(host, "none.txt")
    found = looked_at(host, "--profile", "gpu", VOICE_CDI_FOLDERS=str(host.folder))
    for name in ("driver", "capability", "memory", "memory-free"):
        assert found[name]["state"] == "fail"
        assert "nvidia-smi finds none" in found[name]["found"]
        assert "branch 580" in found[name]["to_do"]
    assert "nvidia-ctk cdi generate" in found["injection"]["to_do"]


def test_a_card_that_is_lost_does_not_hold_it_up(host: Host) -> None:
    host.program("nvidia-smi", "exec sleep 600")
    driver = looked_at(host, "--profile", "gpu", "--only", "driver")["driver"]
    assert (driver["state"], driver["found"]) == ("fail", "nvidia-smi does not answer")
    assert "Xid" in driver["to_do"]


def test_an_old_driver_fails_and_says_which_one_is_wanted(host: Host) -> None:
    with_card(host, "driver-too-old.csv")
    driver = looked_at(host, "--profile", "gpu")["driver"]
    assert driver["state"] == "fail"
    assert "535.183.01" in driver["found"]
    assert "580.65.06" in driver["wanted"]


def test_a_card_without_bfloat16_and_with_little_memory_fails_twice(host: Host) -> None:
    with_card(host, "t4.csv")
    found = looked_at(host, "--profile", "gpu")
    assert [found[name]["state"] for name in ("driver", "capability", "memory")] == [
        "pass", "fail", "fail",
    ]  # fmt: skip


def test_a_card_in_use_fails_on_installation_and_is_expected_on_upgrade(host: Host) -> None:
    with_card(host, "l4-in-use.csv")
    assert looked_at(host, "--profile", "gpu")["memory-free"]["state"] == "fail"
    upgrade = looked_at(host, "--profile", "gpu", "--upgrade")
    assert upgrade["memory-free"]["state"] == "pass"
    assert "running version" in upgrade["memory-free"]["found"]
    assert list(upgrade) == ALL + GPU


def test_a_cdi_file_of_another_driver_fails(host: Host) -> None:
    with_card(host, "l4.csv")
    found = looked_at(host, "--profile", "gpu", **with_cdi(host, "535.183.01"))["injection"]
    assert found["state"] == "fail"
    assert "is not of driver 580.95.05" in found["found"]


def test_the_cpu_profile_asks_for_no_card(host: Host) -> None:
    assert list(looked_at(host)) == ALL


def test_a_port_in_use_fails_on_installation_and_is_expected_on_upgrade(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        assert looked_at(host, "--port", port)["port"]["state"] == "fail"
        assert looked_at(host, "--port", port, "--upgrade")["port"]["state"] == "pass"
    assert looked_at(host, "--port", port)["port"]["state"] == "pass"


def test_a_host_without_an_engine_fails_and_the_rest_is_still_looked_at(host: Host) -> None:
    tools = host.folder / "tools"
    tools.mkdir()
    needed = "bash cat cut date df dirname grep head id nproc sed sort stat tail tr xargs sha256sum"
    for name in needed.split():
        (tools / name).symlink_to(str(shutil.which(name)))
    found = looked_at(host, PATH=str(tools))
    assert found["engine"]["to_do"] == "install podman from the distribution"
    assert found["space"]["state"] == "fail"
    assert found["port"]["state"] == "pass"


def test_an_old_engine_fails(host: Host) -> None:
    host.program("podman", "[[ $1 != version ]] || echo 3.4.4")
    engine = looked_at(host)["engine"]
    assert engine["state"] == "fail"
    assert (engine["found"], engine["wanted"]) == ("podman 3.4.4", "podman 4.3 or newer")


def test_dockers_containerd_store_fails_because_import_does_not_know_it(host: Host) -> None:
    info = "overlayfs [[driver-type io.containerd.snapshotter.v1]]"
    host.program("docker", f'case $* in *Root*) echo /;; *) echo "{info}";; esac')
    store = looked_at(host, "--engine", "docker")["store"]
    assert store["state"] == "fail"
    assert "containerd-snapshotter" in store["to_do"]


def test_too_little_room_for_this_release_fails_with_both_numbers(
    connected: Connected, host: Host
) -> None:
    assert looked_at(host, connected.full)["space"]["state"] == "pass"
    host.program("df", "echo Avail; echo 5000000")
    space = looked_at(host, connected.full)["space"]
    assert space["state"] == "fail"
    assert space["found"].startswith("5 MB free in ")
    assert space["wanted"].startswith("16 MB")


def test_a_clock_before_the_release_was_made_fails(connected: Connected, host: Host) -> None:
    assert looked_at(host, connected.full)["clock"]["state"] == "pass"
    date = shutil.which("date")
    host.program("date", f'[[ $1 != +%s ]] || {{ echo 1600000000; exit; }}\nexec {date} "$@"')
    clock = looked_at(host, connected.full)["clock"]
    assert clock["state"] == "fail"
    assert "2020-09-13" in clock["found"]


@pytest.mark.parametrize("answer", ["echo no", "exit 1"])
def test_a_clock_nobody_keeps_right_is_a_warning(host: Host, answer: str) -> None:
    host.program("timedatectl", answer)
    assert looked_at(host)["clock"]["state"] == "warn"


@pytest.fixture
def secrets(host: Host) -> dict[str, Path]:
    """A certificate of 90 days, its key and a token, as they should be."""
    files = {name: host.folder / name for name in ("certificate", "key", "token")}
    issue(host, 90)
    files["token"].write_text("a token\n")
    os.chown(files["token"], USER, USER)
    files["token"].chmod(0o400)
    return files


def issue(on: Host, days: int) -> None:
    # fmt: off
    on.must(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=voice",
        "-days", str(days), "-out", on.folder / "certificate", "-keyout", on.folder / "key",
    )
    # fmt: on
    os.chown(on.folder / "key", USER, USER)
    (on.folder / "key").chmod(0o400)


def judged(on: Host) -> list[str]:
    """The states of certificate, key and token."""
    options = ("--tls-certificate", "certificate", "--tls-key", "key", "--token-file", "token")
    found = looked_at(on, *options, "--only", "certificate,key,token")
    return [found[name]["state"] for name in ("certificate", "key", "token")]


def test_certificate_key_and_token_that_are_right_pass(
    host: Host, secrets: dict[str, Path]
) -> None:
    assert judged(host) == ["pass", "pass", "pass"]


@pytest.mark.parametrize("name", ["key", "token"])
def test_a_secret_that_others_can_read_fails(
    host: Host, secrets: dict[str, Path], name: str
) -> None:
    secrets[name].chmod(0o440)
    assert judged(host).count("fail") == 1
    secrets[name].unlink()
    assert judged(host).count("fail") == 1


@pytest.mark.parametrize("name", ["key", "token"])
def test_a_secret_of_root_alone_fails_since_the_image_could_not_read_it(
    host: Host, secrets: dict[str, Path], name: str
) -> None:
    os.chown(secrets[name], 0, 0)
    assert judged(host).count("fail") == 1
    os.chown(secrets[name], USER, USER)
    assert judged(host).count("fail") == 0


def test_the_token_that_it_says_how_to_make_can_be_read_by_the_image_and_nobody_else(
    host: Host,
) -> None:
    token = host.folder / "token"
    told = looked_at(host, "--token-file", "token", "--only", "token")["token"]["to_do"]
    host.must("bash", "-c", told.removeprefix("make one: "))
    status = token.stat()
    assert (status.st_uid, status.st_mode & 0o777) == (USER, 0o400)
    assert len(token.read_text().strip()) >= 16  # what the gateway asks for


def test_a_certificate_that_ends_soon_is_a_warning(host: Host, secrets: dict[str, Path]) -> None:
    secrets["key"].unlink()
    issue(host, 5)
    assert judged(host) == ["warn", "pass", "pass"]


def test_a_key_of_another_certificate_fails(host: Host, secrets: dict[str, Path]) -> None:
    kept = secrets["certificate"].read_bytes()
    secrets["key"].unlink()
    issue(host, 90)
    secrets["certificate"].write_bytes(kept)
    assert judged(host) == ["pass", "fail", "pass"]


def test_a_file_that_is_no_certificate_fails(host: Host, secrets: dict[str, Path]) -> None:
    secrets["certificate"].write_text("-----BEGIN CERTIFICATE-----\n")
    assert judged(host)[0] == "fail"


def test_without_certificate_and_key_it_warns_that_speech_is_in_clear(host: Host) -> None:
    found = looked_at(host)
    assert found["certificate"]["state"] == found["key"]["state"] == "warn"
    assert "in clear" in found["certificate"]["to_do"]


def test_what_people_get_fits_80_columns_but_for_a_command_to_copy(host: Host) -> None:
    long = host.folder / ("certificate-" * 5)
    shown = host.run(OPS / "preflight", "--tls-certificate", long).stdout.splitlines()
    wide = [line for line in shown if len(line) > 80]
    assert any(str(long)[-20:] in line for line in shown)
    assert all(str(long) in line or "make one:" in line for line in wide)


def test_people_get_one_line_a_check_and_advice_where_it_is_needed(host: Host) -> None:
    answer = host.run(OPS / "preflight", "--only", "engine,token")
    lines = answer.stdout.splitlines()
    assert lines[0].split() == ["pass", "engine", "podman", "4.3.1"] or lines[0].startswith("pass ")
    assert lines[1].split()[:2] == ["FAIL", "token"]
    assert lines[3].strip().startswith("to do:  make one:")
    assert lines[-1] == "1 passed, 0 warned, 1 failed"


def test_an_unknown_check_is_refused_with_the_known_ones(host: Host) -> None:
    answer = host.run(OPS / "preflight", "--only", "weather")
    assert answer.returncode == 1
    assert "no check weather; there are: engine store" in answer.stderr
