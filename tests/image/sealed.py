"""The real image, built once and cached; run on a host without a route, called from another."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.appliance import SayResult
from tests.host.hosts import ROOT, USER, Host

STORE = ROOT / ".cache/image/tests"  # kept between test runs, because a build takes minutes
TAG = "localhost/voice-appliance:tested"
SOURCE_FOLDERS = ("ops", "requirements", "appliance", "client")
SOURCE_FILES = ("Dockerfile", "image-manifest.lock", "pyproject.toml")
INSIDE, CALLER = "192.0.2.1", "192.0.2.2"  # TEST-NET-1 of RFC 5737
PORT, METRICS_PORT = 8765, 9465
LIMITS = tuple(  # as shipped
    line
    for line in (ROOT / "ops/units/cpu/host.flags").read_text(encoding="utf-8").splitlines()
    if line.startswith("--memory")
)
# Replaces the default limits of podman, as in hosts.py; the engines need more of them.
ULIMITS = ("--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096")
TRACED = "connect,sendto,sendmsg,sendmmsg"


@dataclass(frozen=True)
class Built:
    """An image in a store, and the output folder of ops/image."""

    host: Host
    tag: str
    out: Path

    @property
    def lock_path(self) -> Path:
        return self.out / "image-manifest.lock"

    @property
    def lock(self) -> dict[str, Any]:
        return dict(json.loads(self.lock_path.read_text(encoding="utf-8")))

    @property
    def id(self) -> str:
        return str(self.lock["image"]["id"])


@contextmanager
def store(folder: Path) -> Iterator[Host]:
    """An image store in `folder`, locked: two builds in one store may see unfinished images.

    The state of running containers is deleted first. podman records its path in the store, so it
    cannot be a new temporary folder each time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "in-use").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield from _store(folder)


def _store(folder: Path) -> Iterator[Host]:
    run = folder / "run"
    (folder / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
        f'[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\ntmp_dir = "{run}/tmp"\n'
    )
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{run}"\n'
    )
    shutil.rmtree(run, ignore_errors=True)
    host = Host(folder)
    try:
        yield host
    finally:
        host.run("podman", "rm", "--all", "--force", "--time=0")
        subprocess.run(["umount", folder / "images/overlay"], check=False, capture_output=True)
        shutil.rmtree(run, ignore_errors=True)


def repository(folder: Path, of: Path = ROOT) -> Path:
    """Copy what the image is built from, out of this repository or a copy of it."""
    for name in SOURCE_FOLDERS:
        shutil.copytree(of / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in SOURCE_FILES:
        shutil.copy(of / name, folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def build(on: Host, out: Path, *options: str, root: Path = ROOT, tag: str = TAG) -> Built:
    """Run ops/image of the repository in `root` with this repository's model files."""
    command = [root / "ops/image", "--out", out, "--tag", tag, "--weights", ROOT / "weights"]
    done = subprocess.run(
        [*map(str, command), *options],
        env=on.environ | {"HOME": os.environ.get("HOME", "/root")},
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Built(on, tag, out)


def build_once(on: Host, out: Path, root: Path) -> Built:
    """Run ops/image, unless `on` has the image that it made in `out` of the same sources.

    Several parts of a test run need the image. ops/image would hash every layer again to find out
    that nothing has changed.
    """
    stamp, made_of = out / "made-of", fingerprint(root)
    if stamp.is_file() and stamp.read_text(encoding="ascii") == made_of:
        image = Built(on, TAG, out)
        found = on.run("podman", "image", "inspect", "--format", "{{.Id}}", TAG).stdout.strip()
        if f"sha256:{found}" == image.id:
            return image
    stamp.unlink(missing_ok=True)
    image = build(on, out, root=root)
    stamp.write_text(made_of, encoding="ascii")
    return image


def build_next(built: Built, sources: Path, folder: Path, version: str) -> Built:
    """Build the image of another version, without SBOMs. Only the version's lines differ.

    folder  scratch, for a copy of the sources
    """
    root = repository(folder / "repository", sources)
    for name in ("pyproject.toml", "appliance/settings/__init__.py"):
        text = (root / name).read_text(encoding="utf-8")
        changed = text.replace('ersion = "0.1.0"', f'ersion = "{version}"')
        changed = changed.replace('VERSION = "0.1.0"', f'VERSION = "{version}"')
        assert changed != text
        (root / name).write_text(changed, encoding="utf-8")
    out = built.out.parent / "next"  # reuses the base image
    tag = f"localhost/voice-appliance:{version}-tested"
    return build(built.host, out, "--without-sbom", root=root, tag=tag)


def fingerprint(root: Path) -> str:
    """Hash what the image is built from: the names, modes and contents of the sources' files."""
    digest = hashlib.sha256()
    folders = [path for name in SOURCE_FOLDERS for path in (root / name).rglob("*")]
    for path in sorted([*folders, *(root / name for name in SOURCE_FILES)]):
        if path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            line = f"{path.relative_to(root)} {path.stat().st_mode:o} {content}\n"
            digest.update(line.encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Network:
    """Two connected network namespaces, neither with a route to anywhere else."""

    inside: str
    caller: str

    def at(self, name: str) -> list[str]:
        """Return the prefix of a command that runs in one of them.

        Not `ip netns exec`: podman needs the host's /sys.
        """
        return ["nsenter", f"--net=/run/netns/{name}"]


@contextmanager
def network() -> Iterator[Network]:
    name = secrets.token_hex(3)
    namespaces = Network(f"vi-{name}", f"vc-{name}")
    cable = (f"i-{name}", f"c-{name}")
    try:
        for namespace in (namespaces.inside, namespaces.caller):
            _ip("netns", "add", namespace)
        _ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        ends = zip((namespaces.inside, namespaces.caller), cable, (INSIDE, CALLER), strict=True)
        for namespace, end, address in ends:
            _ip("link", "set", end, "netns", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", namespace, "address", "add", f"{address}/30", "dev", end)
            _ip("-n", namespace, "link", "set", end, "up")
        yield namespaces
    finally:
        for namespace in (namespaces.inside, namespaces.caller):
            subprocess.run(["ip", "netns", "delete", namespace], check=False)


def say(
    network: Network, token_file: Path, folder: Path, *files: Path, ca: Path | None = None
) -> SayResult:
    """Speak the files in one call, with the real client on the caller's machine.

    ca   certificate of the authority; None for a call that is not encrypted
    """
    out = tempfile.mkdtemp(prefix="replies-", dir=folder)
    program = [sys.executable, "-m", "client", "say", "--json", "--out", out, *map(str, files)]
    scheme, trust = ("wss", ["--ca", str(ca)]) if ca else ("ws", [])
    options = ["--url", f"{scheme}://{INSIDE}:{PORT}/ws", "--token-file", str(token_file), *trust]
    options += ["--answer-seconds", "60"]  # the machine may be busy
    done = subprocess.run(
        [*network.at(network.caller), *program, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    turns = [json.loads(line) for line in done.stdout.splitlines()]
    return SayResult(turns, done.returncode, done.stderr)


def fetch(network: Network, path: str, port: int, ca: Path | None = None) -> str:
    """Request a page from the caller's machine; empty if there is none."""
    scheme, trust = ("https", ["--cacert", str(ca)]) if ca else ("http", [])
    url = f"{scheme}://{INSIDE}:{port}/{path.removeprefix('/')}"
    command = [
        *network.at(network.caller),
        "curl",
        *trust,
        "--silent",
        "--fail",
        "--max-time",
        "5",
        url,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def flags() -> list[str]:
    """Return the shipped run flags, with limits that this machine can set."""
    lines = (ROOT / "ops/container.flags").read_text(encoding="utf-8").splitlines()
    return [*(line for line in lines if line and not line.startswith("#")), *ULIMITS]


@dataclass
class SealedContainer:
    """A container of the image, run with the shipped flags and more `options` for podman."""

    built: Built
    network: Network
    folder: Path
    options: tuple[str, ...] = ()
    traced: bool = False
    image: str = ""
    name: str = field(default_factory=lambda: f"voice-{secrets.token_hex(4)}")

    def __post_init__(self) -> None:
        self.log, self.trace = self.folder / "log", self.folder / "trace"
        self.token_file = self.folder / "token"
        self.token_file.write_text(secrets.token_urlsafe(32))
        os.chown(self.token_file, USER, USER)
        self.token_file.chmod(0o400)
        self._podman: subprocess.Popen[bytes] | None = None

    def start(self) -> SealedContainer:
        tracing = ("strace", "-f", "--seccomp-bpf", "-qq", "-e", f"trace={TRACED}", "-o")
        command = [
            *((*tracing, str(self.trace)) if self.traced else ()),
            *("podman", "run", "--name", self.name, "--pull=never", "--log-driver=none"),
            f"--network=ns:/run/netns/{self.network.inside}",
            *flags(),
            *LIMITS,
            f"--volume={self.token_file}:/run/secrets/voice-token:ro",
            "--env=VOICE_GATEWAY_PLAIN_NETWORK=true",  # test_operating.py calls over TLS
            *self.options,
            self.image or self.built.tag,
        ]
        with self.log.open("ab") as log:
            self._podman = subprocess.Popen(
                command, env=self.built.host.environ, stdout=log, stderr=log
            )
        return self

    def wait_ready(self, seconds: float = 240) -> SealedContainer:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self._podman is not None
            assert self._podman.poll() is None, self.tail()
            if self.fetch("readyz", PORT):
                return self
            time.sleep(0.2)
        raise AssertionError(f"not ready in {seconds} s\n{self.tail()}")

    def ended(self, seconds: float = 120) -> int:
        """Wait until the container ends by itself and return its exit code."""
        assert self._podman is not None
        return self._podman.wait(seconds)

    def stop(self) -> int:
        """Stop the container as an operator would and return its exit code."""
        self.built.host.must("podman", "stop", self.name)
        return self.ended()

    def remove(self) -> None:
        self.built.host.must("podman", "rm", "--force", "--ignore", "--time=0", self.name)
        if self._podman is not None:
            self._podman.wait(300)

    def fetch(self, path: str, port: int) -> str:
        """Request a page from the caller's machine."""
        return fetch(self.network, path, port)

    def metric(self, name: str) -> float:
        for line in self.fetch("metrics", METRICS_PORT).splitlines():
            if line.rpartition(" ")[0] == name:
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no metric {name}")

    def inside(self, script: str) -> str:
        """Run Python code in the container, as its user, and return its output."""
        return self.built.host.must("podman", "exec", self.name, "python", "-c", script)

    def say(self, *files: Path) -> SayResult:
        """Speak the files in one call from the caller's machine."""
        return say(self.network, self.token_file, self.folder, *files)

    def lines(self) -> list[dict[str, Any]]:
        """Return the parsed log lines, without those of podman itself."""
        text = self.log.read_text(errors="replace")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
