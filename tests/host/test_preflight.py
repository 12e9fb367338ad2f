"""ops/preflight on different hosts: what it finds, what it wants, and its advice."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host import hosts
from tests.host.conftest import Connected
from tests.host.hosts import OPS, USER, Host

RECORDED = Path(__file__).parent / "recorded"
ALL = [
    "tools",
    "release",
    "engine",
    "store",
    "space",
    "base",
    "host-memory",
    "port",
    "clock",
    "certificate",
    "key",
    "token",
]
GPU = ["driver", "capability", "memory", "memory-free", "injection"]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with hosts.host(tmp_path / "host") as host:
        host.program("timedatectl", "echo yes")
        yield host


def check(on: Host, *options: str | Path, **environ: str) -> dict[str, dict[str, Any]]:
    """Run preflight; return the checks by id."""
    answer = on.run(OPS / "preflight", "--json", *options, **environ)
    report = json.loads(answer.stdout)
    states = [result["state"] for result in report["checks"]]
    assert answer.returncode == (1 if "fail" in states else 0)
    assert [report[name] for name in ("passed", "warned", "failed")] == [
        states.count(state) for state in ("pass", "warn", "fail")
    ]
    for result in report["checks"]:
        assert result["found"] and result["wanted"]
        assert bool(result["to_do"]) == (result["state"] != "pass"), result
    return {result["id"]: result for result in report["checks"]}


def install_gpu(on: Host, recorded: str) -> None:
    """Make nvidia-smi answer as recorded; it fails unless the recording is a table."""
    path = RECORDED / recorded
    on.program("nvidia-smi", f"cat {path}; exit {0 if path.suffix == '.csv' else 9}")


def install_cdi(on: Host, driver: str) -> dict[str, str]:
    folder = on.folder / "cdi"
    folder.mkdir()
    (folder / "nvidia.yaml").write_text(
        f"kind: nvidia.com/gpu\nhostPath: /usr/lib/libcuda.so.{driver}\n"
    )
    return {"VOICE_CDI_FOLDERS": str(folder)}


@pytest.mark.parametrize("card", ["l4.csv", "a10.csv"])
def test_supported_gpu_passes_every_check(host: Host, card: str) -> None:
    install_gpu(host, card)
    driver = (RECORDED / card).read_text().split(", ")[1]
    checks = check(host, "--profile", "gpu", **install_cdi(host, driver))
    assert list(checks) == ALL + GPU
    assert {checks[name]["state"] for name in GPU} == {"pass"}


def test_missing_gpu_fails_with_the_advice_to_install_the_driver(host: Host) -> None:
    install_gpu(host, "none.txt")
    checks = check(host, "--profile", "gpu", VOICE_CDI_FOLDERS=str(host.folder))
    for name in ("driver", "capability", "memory", "memory-free"):
        assert checks[name]["state"] == "fail"
        assert "nvidia-smi finds none" in checks[name]["found"]
        assert "branch 580" in checks[name]["to_do"]
    assert "nvidia-ctk cdi generate" in checks["injection"]["to_do"]


def test_lost_gpu_does_not_block_preflight(host: Host) -> None:
    host.program("nvidia-smi", "exec sleep 600")
    driver = check(host, "--profile", "gpu", "--only", "driver")["driver"]
    assert (driver["state"], driver["found"]) == ("fail", "nvidia-smi does not respond")
    assert "Xid" in driver["to_do"]


def test_old_driver_fails_and_names_the_required_one(host: Host) -> None:
    install_gpu(host, "driver-too-old.csv")
    driver = check(host, "--profile", "gpu")["driver"]
    assert driver["state"] == "fail"
    assert "535.183.01" in driver["found"]
    assert "580.65.06" in driver["wanted"]


def test_gpu_without_bfloat16_and_with_little_memory_fails_two_checks(host: Host) -> None:
    install_gpu(host, "t4.csv")
    checks = check(host, "--profile", "gpu")
    assert [checks[name]["state"] for name in ("driver", "capability", "memory")] == [
        "pass", "fail", "fail",
    ]  # fmt: skip


def test_gpu_in_use_fails_on_installation_and_passes_on_upgrade(host: Host) -> None:
    install_gpu(host, "l4-in-use.csv")
    assert check(host, "--profile", "gpu")["memory-free"]["state"] == "fail"
    upgrade = check(host, "--profile", "gpu", "--upgrade")
    assert upgrade["memory-free"]["state"] == "pass"
    assert "running release" in upgrade["memory-free"]["found"]
    assert list(upgrade) == ALL + GPU


def test_cdi_file_of_another_driver_fails(host: Host) -> None:
    install_gpu(host, "l4.csv")
    injection = check(host, "--profile", "gpu", **install_cdi(host, "535.183.01"))["injection"]
    assert injection["state"] == "fail"
    assert "is not for driver 580.95.05" in injection["found"]


@pytest.mark.parametrize(
    ("profile", "kib", "state"),
    [("cpu", 4_000_000, "pass"), ("cpu", 2_000_000, "warn"), ("gpu", 4_000_000, "warn")],
)
def test_host_with_little_memory_gets_a_warning_that_names_a_smaller_model(
    host: Host, profile: str, kib: int, state: str
) -> None:
    meminfo = host.folder / "meminfo"
    meminfo.write_text(f"MemTotal:       {kib} kB\nMemFree:        1 kB\n")
    options = ("--profile", profile, "--only", "host-memory")
    memory = check(host, *options, VOICE_MEMINFO=str(meminfo))["host-memory"]
    assert memory["state"] == state
    assert memory["found"].replace(",", "") == f"{kib * 1024 // 1_000_000} MB"
    assert state == "pass" or "smaller language model" in memory["to_do"]


def test_memory_that_is_no_number_is_not_evaluated(host: Host) -> None:
    """Bash runs the command in an index while it calculates."""
    meminfo = host.folder / "meminfo"
    meminfo.write_text("MemTotal: port[$(touch${IFS}evaluated)] kB\n")
    options = ("--only", "host-memory")
    memory = check(host, *options, VOICE_MEMINFO=str(meminfo))["host-memory"]
    assert (memory["state"], memory["found"]) == ("warn", "not checked")
    assert not list(host.folder.rglob("evaluated")) and not Path("evaluated").exists()


def test_cpu_profile_has_no_gpu_checks(host: Host) -> None:
    assert list(check(host)) == ALL


def test_port_in_use_fails_on_installation_and_passes_on_upgrade(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        assert check(host, "--port", port)["port"]["state"] == "fail"
        assert check(host, "--port", port, "--upgrade")["port"]["state"] == "pass"
    assert check(host, "--port", port)["port"]["state"] == "pass"


def test_missing_engine_fails_and_the_other_checks_still_run(host: Host) -> None:
    tools = host.folder / "tools"
    tools.mkdir()
    needed = "bash cat cut date df dirname grep head id nproc sed sort stat tail tr xargs sha256sum"
    for name in needed.split():
        (tools / name).symlink_to(str(shutil.which(name)))
    checks = check(host, PATH=str(tools))
    assert checks["engine"]["to_do"] == "install podman from the distribution"
    assert checks["space"]["state"] == "fail"
    assert checks["port"]["state"] == "pass"


def test_missing_program_fails_with_its_package_and_the_release_is_not_accused(
    carried: Path, host: Host
) -> None:
    signers = carried / "allowed_signers.example"
    assert check(host, carried, "--signers", signers)["tools"]["state"] == "pass"
    path = host.path_without("ssh-keygen")
    checks = check(host, carried, "--signers", signers, PATH=path)
    assert checks["tools"]["state"] == checks["release"]["state"] == "fail"
    assert "ssh-keygen (package openssh-client)" in checks["tools"]["found"]
    assert checks["release"]["found"] == "not verified"
    assert 'check "tools"' in checks["release"]["to_do"]


def test_old_engine_fails(host: Host) -> None:
    host.program("podman", "[[ $1 != version ]] || echo 3.4.4")
    engine = check(host)["engine"]
    assert engine["state"] == "fail"
    assert (engine["found"], engine["wanted"]) == ("podman 3.4.4", "podman 4.3 or newer")


@pytest.mark.parametrize(
    ("engine", "rootless", "rootful"),
    [("podman", "true", "false"), ("docker", "[name=seccomp name=rootless]", "[name=seccomp]")],
)
def test_rootless_engine_fails(host: Host, engine: str, rootless: str, rootful: str) -> None:
    for answer, state in ((rootless, "fail"), (rootful, "pass")):
        host.program(engine, f"[[ $1 == version ]] && echo 99.0 || echo '{answer}'")
        found = check(host, "--engine", engine, "--only", "engine")["engine"]
        assert found["state"] == state
        assert ("as root" in found["to_do"], "rootless" in found["found"]) == (state == "fail",) * 2


def test_release_is_verified_before_it_is_read(
    connected: Connected, carried: Path, host: Host
) -> None:
    signers = carried / "allowed_signers.example"
    assert check(host, carried, "--signers", signers)["release"]["state"] == "pass"
    assert check(host, carried, "--signers", host.folder / "none")["release"]["state"] == "warn"
    with (carried / "release.env").open("a", encoding="utf-8") as file:
        file.write("EXTRA=1\n")
    changed = check(host, carried, "--signers", signers)
    assert changed["release"]["state"] == "fail"
    assert "release.env" in changed["release"]["found"]
    assert changed["space"]["state"] == "warn"  # its size was not read


def test_gpu_that_reports_no_memory_is_a_warning(host: Host) -> None:
    for reported in ("[N/A]", "08", "9" * 30):
        host.program("nvidia-smi", f'echo "NVIDIA L4, 580.95.05, 8.9, {reported}, {reported}"')
        checks = check(host, "--profile", "gpu", "--only", "memory,memory-free")
        assert [checks[name]["state"] for name in ("memory", "memory-free")] == ["warn", "warn"]


@pytest.mark.parametrize("port", ["0", "a[$(touch evaluated)]", "123456", "65536", ""])
def test_port_that_is_no_number_is_refused(host: Host, port: str) -> None:
    answer = host.run(OPS / "preflight", "--port", port)
    assert answer.returncode == 1
    assert "--port is a number" in answer.stderr


def test_too_little_space_fails_with_available_and_needed_size(
    connected: Connected, host: Host
) -> None:
    signers = ("--signers", connected.full / "allowed_signers.example")
    assert check(host, connected.full, *signers)["space"]["state"] == "pass"
    unverified = check(host, connected.full)["space"]  # its size may be wrong
    assert (unverified["state"], "unverified" in unverified["to_do"]) == ("warn", True)
    host.program("df", "echo Avail; echo 5000000")
    space = check(host, connected.full)["space"]
    assert space["state"] == "fail"
    assert space["found"].startswith("5 MB free in ")
    assert space["wanted"].startswith("16 MB")


def test_clock_earlier_than_the_export_fails(connected: Connected, host: Host) -> None:
    assert check(host, connected.full)["clock"]["state"] == "pass"
    date = shutil.which("date")
    host.program("date", f'[[ $1 != +%s ]] || {{ echo 1600000000; exit; }}\nexec {date} "$@"')
    clock = check(host, connected.full)["clock"]
    assert clock["state"] == "fail"
    assert "2020-09-13" in clock["found"]


@pytest.mark.parametrize("answer", ["echo no", "exit 1"])
def test_unsynchronised_clock_is_a_warning(host: Host, answer: str) -> None:
    host.program("timedatectl", answer)
    assert check(host)["clock"]["state"] == "warn"


@pytest.fixture
def secrets(host: Host) -> dict[str, Path]:
    """A certificate of 90 days, its key and a token, all valid."""
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


def secret_states(on: Host) -> list[str]:
    """The states of certificate, key and token."""
    options = ("--tls-certificate", "certificate", "--tls-key", "key", "--token-file", "token")
    checks = check(on, *options, "--only", "certificate,key,token")
    return [checks[name]["state"] for name in ("certificate", "key", "token")]


def test_valid_certificate_key_and_token_pass(host: Host, secrets: dict[str, Path]) -> None:
    assert secret_states(host) == ["pass", "pass", "pass"]


@pytest.mark.parametrize("name", ["key", "token"])
def test_secret_that_others_can_read_fails(host: Host, secrets: dict[str, Path], name: str) -> None:
    secrets[name].chmod(0o440)
    assert secret_states(host).count("fail") == 1
    secrets[name].unlink()
    assert secret_states(host).count("fail") == 1


@pytest.mark.parametrize("name", ["key", "token"])
def test_secret_owned_by_root_fails_because_the_image_cannot_read_it(
    host: Host, secrets: dict[str, Path], name: str
) -> None:
    os.chown(secrets[name], 0, 0)
    assert secret_states(host).count("fail") == 1
    os.chown(secrets[name], USER, USER)
    assert secret_states(host).count("fail") == 0


def test_advice_for_a_missing_token_creates_a_valid_one(
    host: Host,
) -> None:
    token = host.folder / "token"
    advice = check(host, "--token-file", "token", "--only", "token")["token"]["to_do"]
    host.must("bash", "-c", advice.removeprefix("create one: "))
    status = token.stat()
    assert (status.st_uid, status.st_mode & 0o777) == (USER, 0o400)
    assert len(token.read_text().strip()) >= 16  # the gateway requires it


def test_certificate_that_expires_soon_is_a_warning(host: Host, secrets: dict[str, Path]) -> None:
    secrets["key"].unlink()
    issue(host, 5)
    assert secret_states(host) == ["warn", "pass", "pass"]


def test_key_of_another_certificate_fails(host: Host, secrets: dict[str, Path]) -> None:
    kept = secrets["certificate"].read_bytes()
    secrets["key"].unlink()
    issue(host, 90)
    secrets["certificate"].write_bytes(kept)
    assert secret_states(host) == ["pass", "fail", "pass"]


def test_file_that_is_not_a_certificate_fails(host: Host, secrets: dict[str, Path]) -> None:
    secrets["certificate"].write_text("-----BEGIN CERTIFICATE-----\n")
    assert secret_states(host)[0] == "fail"


def test_missing_certificate_and_key_are_a_warning(host: Host) -> None:
    checks = check(host)
    assert checks["certificate"]["state"] == checks["key"]["state"] == "warn"
    assert "the first start makes one" in checks["certificate"]["to_do"]


def test_output_fits_80_columns_except_for_commands_to_copy(host: Host) -> None:
    long = host.folder / ("certificate-" * 5)
    shown = host.run(OPS / "preflight", "--tls-certificate", long).stdout.splitlines()
    wide = [line for line in shown if len(line) > 80]
    assert any(str(long)[-20:] in line for line in shown)
    assert all(str(long) in line or "create one:" in line for line in wide)


def test_output_has_one_line_per_check_and_advice_for_failures(host: Host) -> None:
    answer = host.run(OPS / "preflight", "--only", "engine,token")
    lines = answer.stdout.splitlines()
    assert lines[0].split() == ["pass", "engine", "podman", "4.3.1"] or lines[0].startswith("pass ")
    assert lines[1].split()[:2] == ["FAIL", "token"]
    assert lines[3].strip().startswith("to do:    create one:")
    assert lines[-1] == "1 passed, 0 warnings, 1 failed"


def test_unknown_check_is_refused_with_the_known_ones(host: Host) -> None:
    answer = host.run(OPS / "preflight", "--only", "weather")
    assert answer.returncode == 1
    assert "unknown check weather; the checks are: tools release engine store" in answer.stderr
