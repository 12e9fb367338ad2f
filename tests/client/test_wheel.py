"""The client of a release: installed without a network, as a user does, and used."""

from __future__ import annotations

import asyncio
import ctypes.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from client import __main__ as program
from client.errors import UsageError
from ops.client_wheel import requirements, write_wheel
from tests.client.conftest import ROOT
from tests.fakes import FakeGateway

NO_NETWORK = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
needs_namespace = pytest.mark.skipif(
    subprocess.run([*NO_NETWORK, "true"], check=False, capture_output=True).returncode != 0,
    reason="a network namespace cannot be made",
)


def run(
    *command: str | Path, folder: Path = ROOT, **environ: str
) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("VOICE_", "PIP_"))}
    return subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={**inherited, "PIP_CONFIG_FILE": os.devnull, **environ},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def release() -> Path:
    """The folder that ops/export puts into a release. Its packages are downloaded once."""
    folder = ROOT / ".cache/client"
    done = subprocess.run(
        [ROOT / "ops/client-folder", folder], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = f"THE CLIENT'S PACKAGES CANNOT BE COLLECTED: {done.stderr}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return folder


def test_wheel_has_all_modules_and_the_locked_packages(tmp_path: Path) -> None:
    path = write_wheel(ROOT, tmp_path)
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (wheel.read(name).decode() for name in names if name.endswith("METADATA"))
    assert {f"client/{path.name}" for path in (ROOT / "client").glob("*.py")} <= names
    direct = (ROOT / "requirements/client.in").read_text().splitlines()
    for line in direct:
        if line and not line.startswith("#"):
            assert f"Requires-Dist: {line.split('==')[0]}==" in metadata
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"\nVersion: {project['version']}\n" in metadata


def test_same_source_gives_the_same_wheel(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    one, two = (write_wheel(ROOT, folder) for folder in folders)
    assert one.read_bytes() == two.read_bytes()


def test_release_has_all_packages_for_each_python(release: Path) -> None:
    wheels = [path.name.lower().replace("_", "-") for path in (release / "wheels").iterdir()]
    for each in requirements(ROOT):
        name = each.replace("==", "-").lower().replace("_", "-")
        assert any(wheel.startswith(f"{name}-") for wheel in wheels), each


@pytest.fixture(scope="module")
def pipx() -> Path:
    """The folder of the program `pipx`. It is downloaded once."""
    venv, lock = ROOT / ".cache/pipx", ROOT / "requirements/pipx.txt"
    stamp = venv / lock.name
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        made = run(sys.executable, "-m", "venv", "--clear", venv)
        assert made.returncode == 0, made.stderr
        install = (venv / "bin/pip", "install", "--require-hashes", "--only-binary=:all:")
        done = subprocess.run(
            [*install, f"--requirement={lock}"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            reason = f"PIPX CANNOT BE INSTALLED: {done.stderr}"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
        shutil.copy(lock, stamp)
    return venv / "bin"


def documented_command() -> str:
    """Return the command of docs/client.md that installs the client."""
    page = (ROOT / "docs/client.md").read_text(encoding="utf-8")
    [command] = re.findall(r"^    (pipx install .+)$", page, re.MULTILINE)
    return str(command)


@needs_namespace
def test_documented_command_of_pipx_installs_the_client_without_a_network(
    release: Path, pipx: Path, tmp_path: Path
) -> None:
    home = {"HOME": str(tmp_path), "PIPX_HOME": str(tmp_path / "pipx"), "USE_EMOJI": "0"}
    environ = home | {
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "PIPX_SHARED_LIBS": str(tmp_path / "shared"),
        "PATH": f"{tmp_path / 'bin'}:{pipx}:{os.environ['PATH']}",
    }
    installed = run(*NO_NETWORK, "sh", "-c", documented_command(), folder=release, **environ)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    shown = run(*NO_NETWORK, "voice", "--version", folder=tmp_path, **environ)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert shown.stdout == f"voice {project['version']}\n"
    listed = run(*NO_NETWORK, "voice", "devices", folder=tmp_path, **environ)
    has_sound = ctypes.util.find_library("portaudio") is not None
    assert listed.returncode == (0 if has_sound else UsageError.exit_code), listed.stderr
    assert listed.stdout if has_sound else "PortAudio" in listed.stderr
    assert "Traceback" not in listed.stderr


@needs_namespace
async def test_client_is_installed_without_a_network_and_holds_a_call(
    release: Path, questions: list[Path], tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    made = run(sys.executable, "-m", "venv", venv)
    assert made.returncode == 0, made.stderr
    (wheel,) = release.glob("voice_client-*.whl")
    installed = run(
        *NO_NETWORK,
        venv / "bin/pip",
        "install",
        "--no-index",
        "--find-links=wheels/",
        f"./{wheel.name}",
        folder=release,
    )
    assert installed.returncode == 0, installed.stderr
    voice = venv / "bin/voice"
    assert shutil.which("voice", path=str(venv / "bin"))
    shown = run(voice, "--help", folder=tmp_path)
    assert all(command in shown.stdout for command in program.COMMANDS), shown.stderr
    async with FakeGateway(token="secret") as gateway:
        process = await asyncio.create_subprocess_exec(
            voice,
            *("say", "--url", gateway.url),
            *questions,
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "VOICE_CLIENT_TOKEN": "secret", "PATH": os.defpath},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert "bot  Answer 1." in out.decode()
    assert "bot  Answer 2." in out.decode()
