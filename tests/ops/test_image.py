"""ops/image with a fake buildah: what it passes on, and that no secret remains on disk."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.settings import VERSION
from tests.host.hosts import kept_sboms
from tests.ops.bundle.test_image import inspected

ROOT = Path(__file__).resolve().parents[2]
SPACY = ROOT / "weights/en_core_web_sm"  # the only model in BuildHost's image-manifest.lock

# Records its arguments and copies the secrets, as a real build would see them.
BUILDAH = """#!/usr/bin/env bash
printf '%s\\n' "$@" >>"$NOTES/arguments"
for word in "$@"; do
    [[ $word == id=*,src=* ]] && cp "${word#*src=}" "$NOTES/secret-${word##*/}"
    [[ $word == id=*,src=* ]] && printf '%s' "${word#*src=}" >"$NOTES/secret-path"
done
[[ $1 == inspect ]] && cat "$NOTES/inspected"
exit 0
"""
# Notes its arguments; the image is mounted at /the/image.
PODMAN = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$NOTES/podman"
[[ $2 != mount ]] || echo /the/image
"""
# Notes its arguments, and writes them into each output. Fails after the first one if $NOTES/full.
SYFT = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$NOTES/syft"
for word in "$@"; do
    [[ $word != *-json=* ]] || printf '%s\\n' "$*" >"${word#*=}"
    [[ $word != *-json=* || ! -e $NOTES/full ]] || exit 1
done
"""
STANZA = (
    "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: /usr/share/keyrings/{}.gpg\n"
)


@dataclass
class BuildHost:
    """A machine with its own settings, a repository, and a fake buildah."""

    folder: Path

    def __post_init__(self) -> None:
        self.root, self.notes, self.apt = (self.folder / n for n in ("root", "notes", "apt"))
        (self.apt / "sources.list.d").mkdir(parents=True)
        (self.apt / "apt.conf").write_text(f'Dir::Etc "{self.apt}";\n')
        self.notes.mkdir()
        (self.notes / "inspected").write_text(json.dumps(inspected()))
        self.program(self.folder / "bin/buildah", BUILDAH)
        self.program(self.folder / "bin/podman", PODMAN)
        for name in ("ops", "requirements", "appliance"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, self.root / name, ignore=ignored)
        for name in ("Dockerfile", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        tree = json.loads((ROOT / "image-manifest.lock").read_text())
        tree["sources"] = {k: v for k, v in tree["sources"].items() if k == "en-core-web-sm"}
        tree["weights"] = [w for w in tree["weights"] if w["source"] == "en-core-web-sm"]
        (self.root / "image-manifest.lock").write_text(json.dumps(tree))
        (self.root / ".venv").symlink_to(ROOT / ".venv")
        script = (
            f"source {self.root}/ops/common.sh; source {self.root}/ops/sbom.sh; echo $SYFT_FOLDER"
        )
        self.syft = Path(subprocess.check_output(["bash", "-c", script], text=True).strip())
        self.program(self.syft / "bin/syft", SYFT)

    def program(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def image(self, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "ops/image", "--weights", ROOT / "weights", *options],
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("PIP_")},
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "NOTES": str(self.notes),
                "APT_CONFIG": str(self.apt / "apt.conf"),
                "PIP_CONFIG_FILE": str(self.folder / "pip.conf"),
                **environ,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def build(self, **environ: str) -> list[str]:
        """Build on a base image from a registry; return the arguments of buildah."""
        done = self.image("--base", "debian:bookworm-slim", **environ)
        assert done.returncode == 0, done.stdout + done.stderr
        return (self.notes / "arguments").read_text().splitlines()

    def secret(self, name: str) -> str:
        return self.noted(f"secret-{name}")

    def noted(self, name: str) -> str:
        path = self.notes / name
        return path.read_text() if path.exists() else ""

    @property
    def sboms(self) -> Path:
        """The folder for the SBOMs of the image that was built last."""
        return kept_sboms(self.root / ".cache/image/cpu/image-manifest.lock", self.root / "ops")


@pytest.fixture
def host(tmp_path: Path) -> BuildHost:
    return BuildHost(tmp_path)


def test_build_is_reproducible_and_pulls_only_a_named_base(host: BuildHost) -> None:
    arguments = host.build()
    for pair in (("--format", "oci"), ("--timestamp", "0"), ("--build-arg", "PROFILE=cpu")):
        assert pair in itertools.pairwise(arguments)
    assert "BASE=debian:bookworm-slim" in arguments
    assert "--pull-never" not in arguments
    lock = json.loads((host.root / ".cache/image/cpu/image-manifest.lock").read_text())
    assert lock["image"]["base"] == {"name": "debian:bookworm-slim", "sha256": ""}


def test_debian_mirrors_are_read_from_both_formats_of_apt_sources(host: BuildHost) -> None:
    keyring, lists = "debian-archive-keyring", host.apt / "sources.list.d"
    mirror = STANZA.format("http://mirror.example/debian", "bookworm bookworm-updates", keyring)
    (lists / "debian.sources").write_text("# a remark\n" + mirror)
    (lists / "other.sources").write_text(STANZA.format("http://o.example", "bookworm", "other"))
    (lists / "new.sources").write_text(STANZA.format("http://n.example", "trixie", keyring))
    (host.apt / "sources.list").write_text(
        "deb [arch=amd64] http://old.example/debian bookworm-security main contrib\n"
        "# deb http://off.example/debian bookworm main\n"
        "deb http://new.example/debian trixie main\n"
    )
    host.build()
    sources = host.secret("apt")
    assert "URIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates" in sources
    assert (
        "URIs: http://old.example/debian\nSuites: bookworm-security\nComponents: main contrib"
        in sources
    )
    assert sources.count("Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg") == 2
    for other in ("o.example/", "n.example", "off.example", "new.example", "remark"):
        assert f"//{other}" not in sources


def test_pip_indexes_are_passed_but_not_local_folders(host: BuildHost) -> None:
    (host.folder / "pip.conf").write_text(
        "[global]\nindex-url = https://name:word@index.example/simple\n"
        "extra-index-url = file:///somewhere/simple https://more.example/simple\n"
        "find-links = /somewhere/wheels\n"
    )
    host.build()
    assert host.secret("pip").splitlines() == [
        "[global]",
        "index-url = https://name:word@index.example/simple",
        "extra-index-url = https://more.example/simple",
    ]


def test_environment_overrides_the_config_file_of_pip(host: BuildHost) -> None:
    (host.folder / "pip.conf").write_text("[global]\nindex-url = https://one.example/simple\n")
    host.build(PIP_INDEX_URL="https://two.example/simple")
    assert "index-url = https://two.example/simple" in host.secret("pip")


def test_ca_certificates_of_the_host_are_passed(host: BuildHost) -> None:
    (host.folder / "ca.pem").write_text("certificates")
    host.build(PIP_CERT=str(host.folder / "ca.pem"))
    assert host.secret("ca") == "certificates"


def test_secrets_are_deleted_and_never_on_the_command_line(host: BuildHost) -> None:
    (host.folder / "pip.conf").write_text("[global]\nindex-url = https://n:word@i.example/simple\n")
    arguments = host.build()
    assert not Path((host.notes / "secret-path").read_text()).parent.exists()
    assert "word@" not in "\n".join(arguments)
    files = [path for path in (host.root / ".cache").rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if b"word@" in path.read_bytes()] == []


def test_error_without_a_base_and_mirror_names_the_option(host: BuildHost) -> None:
    refused = host.image()
    assert refused.returncode == 1
    assert "--base" in refused.stderr


def test_stage_only_does_not_call_buildah_and_leaves_ops_out(
    host: BuildHost,
) -> None:
    done = host.image("--stage-only")
    assert done.returncode == 0, done.stderr
    context = Path(done.stdout.splitlines()[-1])
    assert (context / "Dockerfile").exists()
    code = {path.name for path in (context / "code").iterdir()}
    assert {"appliance", "image-manifest.lock"} <= code
    assert "ops" not in code
    assert not (host.notes / "arguments").exists()


def test_changed_model_file_stops_the_build_before_it_starts(
    host: BuildHost, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(SPACY, weights / SPACY.name)
    victim = weights / SPACY.name / "meta.json"
    victim.write_text(victim.read_text() + " ")
    stopped = host.image("--weights", str(weights))
    assert stopped.returncode != 0
    assert "meta.json was changed" in stopped.stdout + stopped.stderr
    assert not (host.notes / "arguments").exists()


def test_sboms_of_an_image_are_written_once_beside_its_lock(host: BuildHost) -> None:
    host.build()
    for name in ("sbom.cdx.json", "sbom.spdx.json"):
        sbom = (host.sboms / name).read_text()
        assert "dir:/the/image" in sbom
        assert "--source-name voice-appliance-cpu" in sbom
        assert f"--source-version {VERSION}" in sbom
    image = "sha256:" + "ab" * 32
    assert host.noted("podman").splitlines() == [f"image mount {image}", f"image unmount {image}"]
    host.build()
    assert host.noted("syft").count("\n") == 1


def test_sboms_of_a_new_image_replace_those_of_the_old_one(host: BuildHost) -> None:
    host.build()
    old = host.sboms
    (host.notes / "inspected").write_text(json.dumps({**inspected(), "FromImageID": "ef" * 32}))
    host.build()
    assert host.sboms != old
    assert [path for path in old.parent.iterdir() if "sbom-" in path.name] == [host.sboms]
    assert host.noted("syft").count("\n") == 2


def test_image_is_built_where_no_sboms_can_be_written(host: BuildHost) -> None:
    def build_without(why: str, **environ: str) -> None:
        done = host.image("--base", "debian:bookworm-slim", **environ)
        assert done.returncode == 0, done.stdout + done.stderr
        assert why in done.stderr
        assert "warning: no SBOMs were written" in done.stderr
        assert not host.sboms.exists()

    host.program(host.folder / "bin/podman", "#!/bin/sh\necho no mount here >&2\nexit 125\n")
    build_without("no mount here")
    host.program(host.folder / "bin/podman", PODMAN)
    (host.notes / "full").touch()  # the disk is, after the first of the two
    build_without("")
    assert "image unmount" in host.noted("podman")
    shutil.rmtree(host.syft)
    host.program(host.folder / "bin/no-python", "#!/bin/sh\necho no venv here >&2\nexit 1\n")
    build_without("no venv here", PYTHON=str(host.folder / "bin/no-python"))


def test_sboms_can_be_left_to_the_export(host: BuildHost) -> None:
    done = host.image("--base", "debian:bookworm-slim", "--without-sbom")
    assert done.returncode == 0, done.stderr
    assert "SBOM" not in done.stdout + done.stderr
    assert not host.sboms.exists()
    assert host.noted("syft") + host.noted("podman") == ""


@pytest.mark.parametrize("script", ["image", "base-image"])
def test_help_is_the_header_of_the_script(script: str) -> None:
    shown = subprocess.run(
        [ROOT / "ops" / script, "--help"], capture_output=True, text=True, check=True
    )
    assert f"Usage: ops/{script}" in shown.stdout


def test_unknown_option_and_profile_are_refused(host: BuildHost) -> None:
    assert "ops/image --help" in host.image("--frobnicate").stderr
    assert "requirements/tpu.txt" in host.image("--profile", "tpu").stderr


def test_unknown_language_model_is_refused_before_the_build(host: BuildHost) -> None:
    refused = host.image("--stage-only", VOICE_LLM_MODEL="huge")
    assert refused.returncode != 0
    assert "there is no model 'huge'" in refused.stdout + refused.stderr
