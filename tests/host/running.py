"""Tiny images that run a shell script in place of the appliance, and a host that runs voicectl."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from appliance.tls import issue
from appliance.tls.names import HostNames
from tests.host.hosts import OPS, ULIMITS, USER, Host
from tests.tls.site import now

NAME = "voice-appliance"
PROGRAMS = ("bash", "cat", "chown", "sleep")

# Answers `python -m appliance VERB` in the images.
STAND_IN = Path(__file__).with_name("stand-in")

DOCKERFILE = """FROM scratch
COPY system/ /
COPY {kind}-{version}/ /opt/voice/
LABEL org.opencontainers.image.version="{version}" voice.profile="{profile}"
ENV PATH=/usr/bin
USER 10001
ENTRYPOINT ["python", "-m", "appliance"]
CMD ["boot"]
"""


@dataclasses.dataclass(frozen=True)
class Release:
    """A release to build.

    kind    good; broken (ends with exit code 78); never (becomes ready); old (lacks newer verbs)
    """

    version: str
    kind: str = "good"
    profile: str = "cpu"

    @property
    def tag(self) -> str:
        return f"localhost/{NAME}:{self.version}-{self.profile}"


ONE, TWO = Release("0.1.0"), Release("0.2.0")


def build(on: Host, *releases: Release) -> None:
    """Build the images, with the tags of ops/import."""
    context = on.folder / "context"
    _system(context / "system")
    names = HostNames(("voice.example",))
    pair = issue.server_certificate(issue.server_authority(names, now()), names, now())
    for release in releases:
        code = context / f"{release.kind}-{release.version}"
        code.mkdir(exist_ok=True)
        (code / "version").write_text(f"{release.version}\n")
        (code / "kind").write_text(f"{release.kind}\n")
        (code / "chain.pem").write_bytes(pair.certificate)
        (code / "key.pem").write_bytes(pair.key)
        with tarfile.open(code / "bundle.tar", "w") as archive:
            archive.add(code / "version", "voice-bundle/version.txt")
        text = DOCKERFILE.format(**dataclasses.asdict(release))
        (context / "Dockerfile").write_text(text)
        # fmt: off
        on.must(
            "buildah", "build", "--quiet", "--format", "oci", "--timestamp", "0", "--layers",
            "--tag", release.tag, context,
        )
        # fmt: on


def _system(folder: Path) -> None:
    """Copy bash, a few programs and their libraries from this machine."""
    (folder / "usr/bin").mkdir(parents=True)
    (folder / "bin").symlink_to("usr/bin")
    # As in the Dockerfile: when podman restarts a container, its tmpfs has the mode of this folder.
    (folder / "run").mkdir()
    (folder / "run").chmod(0o1777)
    for program in PROGRAMS:
        path = str(shutil.which(program))
        shutil.copy(path, folder / "usr/bin" / program)
        linked = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        for word in linked.split():
            if word.startswith("/"):
                (folder / word[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(word, folder / word[1:])
    supervisorctl = '#!/bin/bash\necho "called with $*"\n[[ $4 != llm ]] || exit 7\n'  # spawn error
    for name, text in (("python", STAND_IN.read_text()), ("supervisorctl", supervisorctl)):
        (folder / "usr/bin" / name).write_text(text)
        (folder / "usr/bin" / name).chmod(0o755)


@dataclasses.dataclass(frozen=True)
class OperatedHost:
    """A host with imported releases, operated with voicectl."""

    host: Host
    engine: str = "podman"

    @property
    def etc(self) -> Path:
        return self.host.folder / "etc"

    @property
    def state(self) -> Path:
        return self.host.folder / "state"

    @property
    def runtime(self) -> Path:
        """What a restart of the host clears."""
        return self.host.folder / "runtime"

    @property
    def smoke_test(self) -> Path:
        return self.host.folder / "bin/smoke"

    @property
    def environ(self) -> Mapping[str, str]:
        return {
            "VOICE_ETC": str(self.etc),
            "VOICE_STATE": str(self.state),
            "VOICE_RUN": str(self.runtime),
            "VOICE_SMOKE_TEST": str(self.smoke_test),
            "VOICE_READY_SECONDS": "60",
        }

    def ctl(self, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run voicectl."""
        return self.host.run(OPS / "voicectl", *arguments, **{**self.environ, **environ})

    def must(self, *arguments: str | Path, **environ: str) -> str:
        """Run voicectl, which has to succeed; return what it prints."""
        done = self.ctl(*arguments, **environ)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def is_closed(self, container: str = NAME) -> bool:
        """Whether the appliance takes no calls but those of the smoke test."""
        status = ("python", "-m", "appliance", "status", "--json")
        return bool(json.loads(self.run_engine("exec", container, *status))["closed"])

    def run_engine(self, *arguments: str) -> str:
        return self.host.must(self.engine, *arguments)

    def tag(self, release: Release, slot: str) -> None:
        """Set a tag, as an earlier activation has left it."""
        self.run_engine("tag", release.tag, f"localhost/{NAME}:{slot}")

    def id(self, name: str) -> str:
        """The id of an image; empty if there is none."""
        command = ("image", "inspect", "--format", "{{.Id}}", f"localhost/{NAME}:{name}")
        return self.host.run(self.engine, *command).stdout.strip().removeprefix("sha256:")

    @property
    def slots(self) -> tuple[str, str]:
        """The ids of the current and the previous image."""
        return self.id("current"), self.id("previous")

    @property
    def serves(self) -> str:
        """The version that takes calls; empty if none does."""
        ready = self.host.run(self.engine, "exec", NAME, "python", "-m", "appliance", "health")
        if ready.returncode:
            return ""
        return self.run_engine("exec", NAME, "cat", "/opt/voice/version")

    def steps(self) -> list[str]:
        """The steps in activations.log, in order."""
        path = self.state / "activations.log"
        return [line.split()[2] for line in path.read_text().splitlines()] if path.exists() else []

    def set_smoke_test(self, script: str = "exit 0") -> None:
        """Set what the smoke test does."""
        self.host.program("smoke", f"echo smoke test\n{script}")


# voicectl looks each second whether a container is ready. Those here are ready at once.
SLEEP = f'[[ $* != 1 ]] || set -- 0.1\nexec {shutil.which("sleep")} "$@"'


@contextlib.contextmanager
def fresh(site: OperatedHost) -> Iterator[OperatedHost]:
    """The host with a token and no network, with no release activated or running."""
    site.etc.mkdir()
    (site.etc / "token").write_text("a token\n")
    os.chown(site.etc / "token", USER, USER)
    (site.etc / "token").chmod(0o400)
    (site.etc / "host.flags").write_text(
        "\n".join(("# of this host", "--network=none", *ULIMITS)) + "\n"
    )
    site.set_smoke_test()
    site.host.program("timedatectl", "echo yes")
    site.host.program("sleep", SLEEP)
    try:
        yield site
    finally:
        names = site.host.run(site.engine, "ps", "--all", "--quiet").stdout.split()
        for name in names:
            site.host.run(site.engine, "rm", "--force", name)
        for slot in ("current", "previous"):
            for suffix in ("", "-0", "-1"):  # of instances
                site.host.run(site.engine, "rmi", f"localhost/{NAME}:{slot}{suffix}")
        for folder in (site.etc, site.state, site.runtime):
            shutil.rmtree(folder, ignore_errors=True)
        for program in (site.host.folder / "bin").iterdir():
            program.unlink()
