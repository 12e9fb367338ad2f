"""Hosts for the tests of delivery, each with an image store of its own, and tiny images."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OPS = ROOT / "ops"
USER = 10001  # of the images
NEEDED = ("podman", "buildah", "runc", "mmdebstrap", "strace", "ip", "curl", "zstd", "ssh-keygen")
# For host.flags: the flag --ulimit of container.flags replaces the default limits of podman, which
# are above the limits of a test machine that is itself restricted.
ULIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
WEIGHTS_BYTES = 5_000_000  # with parts of 2 MB: three parts

DOCKERFILE = """FROM scratch
COPY weights/ /opt/voice/weights/
COPY empty/ /opt/voice/weights/
COPY system/ /
COPY empty/ /opt/voice/weights/
COPY code/ /opt/voice/
USER 10001
CMD ["/opt/voice/run"]
"""


def missing_tools() -> list[str]:
    """The tools that the tests need and this machine lacks."""
    return [tool for tool in NEEDED if shutil.which(tool) is None]


@dataclasses.dataclass(frozen=True)
class Host:
    """A host of its own: podman's store, the home folder and PATH are separate."""

    folder: Path

    @property
    def images(self) -> Path:
        """podman's data root."""
        return self.folder / "images"

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in os.environ if not name.startswith("VOICE_")}
        return kept | {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
        }

    def run(self, *command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.run_within(300, *command, **environ)

    def run_within(
        self, timeout_seconds: float, *command: str | Path, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command],
            env=self.environ | environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
            stdin=subprocess.DEVNULL,
        )

    def must(self, *command: str | Path) -> str:
        """Run a command that has to succeed; return its output without the last newline."""
        done = self.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def ids(self) -> set[str]:
        """The ids of all images in the store."""
        lines = self.must("podman", "images", "--all", "--quiet", "--no-trunc").split()
        return set(lines)

    def program(self, name: str, text: str) -> None:
        """Create a program that hides another one of the same name on the PATH."""
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def path_without(self, *names: str) -> str:
        """Return a PATH on which these programs are not found."""
        folder = self.folder / "lacking"
        folder.mkdir()
        for programs in map(Path, reversed(self.environ["PATH"].split(":"))):
            for program in programs.iterdir() if programs.is_dir() else ():
                if program.name not in names:
                    (folder / program.name).unlink(missing_ok=True)
                    (folder / program.name).symlink_to(program)
        return str(folder)


@contextlib.contextmanager
def host(folder: Path) -> Iterator[Host]:
    """Create a host with an empty store in `folder`; unmount and remove everything at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n'
        f'tmp_dir = "{folder}/tmp"\n[network]\nnetwork_backend = "netavark"\n'
    )
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n'
    )
    host = Host(folder)
    try:
        yield host
    finally:
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([path for path in mounts if path.startswith(f"{folder}/")]):
            subprocess.run(["umount", mount], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def build(on: Host, version: str, code: str, weights: bytes) -> Path:
    """Build a tiny image as ops/image does; return its lock."""
    context = on.folder / f"context-{version}"
    info = context / "system/usr/lib/python3/dist-packages/weigh-2.5.dist-info"
    for part in ("weights", "empty", "code", "system/usr/share/doc/libscale"):
        (context / part).mkdir(parents=True)
    info.mkdir(parents=True)
    (context / "weights/model.gguf").write_bytes(weights)
    (context / "system/usr/share/doc/libscale/copyright").write_text("BSD-3-Clause\n")
    (info / "METADATA").write_text("Name: weigh\nVersion: 2.5\nLicense-Expression: MIT\n")
    (info / "LICENSE").write_text("MIT License\n")
    for number in range(300):
        (info / "licenses").mkdir(exist_ok=True)
        (info / f"licenses/of-part-{number:03}-{'x' * 80}").write_text(f"{number}\n")
    vendored = context / "system/usr/lib/python3/dist-packages/scales/_vendor" / info.name
    vendored.mkdir(parents=True)
    (vendored / "LICENSE").write_text("MIT License\n")
    (context / "code/run").write_text(code)
    (context / "Dockerfile").write_text(DOCKERFILE)
    # fmt: off
    on.must(
        "buildah", "build", "--quiet", "--format", "oci", "--timestamp", "0", "--layers",
        "--tag", f"localhost/tiny:{version}", context,
    )
    # fmt: on
    return lock(on, version)


def lock(on: Host, version: str) -> Path:
    """Write the repository's lock with the `image` entry that ops/image would add."""
    inspected = json.loads(on.must("buildah", "inspect", "--type", "image", f"tiny:{version}"))
    sizes = [layer["size"] for layer in json.loads(inspected["Manifest"])["layers"]]
    tree = json.loads((ROOT / "image-manifest.lock").read_text(encoding="utf-8"))
    tree["image"] = {
        "id": "sha256:" + inspected["FromImageID"],
        "manifest_digest": inspected["FromImageDigest"],
        "profile": "cpu",
        "version": version,
        "layers": [
            {"diff_id": diff_id, "size_bytes": size}
            for diff_id, size in zip(inspected["OCIv1"]["rootfs"]["diff_ids"], sizes, strict=True)
        ],
    }
    path = on.folder / f"{version}.lock"
    path.write_text(json.dumps(tree, indent=2), encoding="utf-8")
    return path


def image_id(lock: Path) -> str:
    return str(json.loads(lock.read_text(encoding="utf-8"))["image"]["id"])


def kept_sboms(lock: Path, ops: Path = OPS) -> Path:
    """The folder in which ops/image keeps the SBOMs of the image of this lock."""
    script = f"source {ops}/common.sh; source {ops}/sbom.sh; kept_sboms {lock}"
    environ = {**os.environ, "IMAGE_ID": image_id(lock)}
    return Path(subprocess.check_output(["bash", "-c", script], env=environ, text=True).strip())


def read_env(path: Path) -> dict[str, str]:
    """The values of a release.env."""
    return dict(line.split("=", 1) for line in path.read_text(encoding="ascii").splitlines())


def damage(path: Path, at: float = 0.5) -> None:
    """Flip one bit at the relative position `at`, 0..1."""
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 1
    path.write_bytes(content)
