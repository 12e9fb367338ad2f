"""ops/image up to the builder: what it hands to buildah, and that no setting of the host stays."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ops.bundle.test_image import inspected

ROOT = Path(__file__).resolve().parents[2]
SEALED = ROOT / "weights/en_core_web_sm"  # what is needed of the models to lay out a context

# Notes its arguments and keeps a copy of the secrets, as a real build would see them.
BUILDAH = """#!/usr/bin/env bash
printf '%s\\n' "$@" >>"$NOTES/arguments"
for word in "$@"; do
    [[ $word == id=*,src=* ]] && cp "${word#*src=}" "$NOTES/secret-${word##*/}"
    [[ $word == id=*,src=* ]] && printf '%s' "${word#*src=}" >"$NOTES/place"
done
[[ $1 == inspect ]] && cat "$NOTES/inspected"
exit 0
"""
STANZA = (
    "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: /usr/share/keyrings/{}.gpg\n"
)


@dataclass
class Host:
    """A machine with settings of its own, a repository, and a pretended buildah."""

    folder: Path

    def __post_init__(self) -> None:
        self.root, self.notes, self.apt = (self.folder / n for n in ("root", "notes", "apt"))
        (self.apt / "sources.list.d").mkdir(parents=True)
        (self.apt / "apt.conf").write_text(f'Dir::Etc "{self.apt}";\n')
        self.notes.mkdir()
        (self.notes / "inspected").write_text(json.dumps(inspected()))
        (self.folder / "bin").mkdir()
        (self.folder / "bin/buildah").write_text(BUILDAH)
        (self.folder / "bin/buildah").chmod(0o755)
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

    def built(self, **environ: str) -> list[str]:
        """What buildah was told, for a base that a registry has."""
        done = self.image("--base", "debian:bookworm-slim", **environ)
        assert done.returncode == 0, done.stdout + done.stderr
        return (self.notes / "arguments").read_text().splitlines()

    def secret(self, name: str) -> str:
        path = self.notes / f"secret-{name}"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_build_is_repeatable_by_format_and_time_and_pulls_only_a_named_base(host: Host) -> None:
    told = host.built()
    for pair in (("--format", "oci"), ("--timestamp", "0"), ("--build-arg", "PROFILE=cpu")):
        assert pair in itertools.pairwise(told)
    assert "BASE=debian:bookworm-slim" in told
    assert "--pull-never" not in told
    lock = json.loads((host.root / ".cache/image/cpu/image-manifest.lock").read_text())
    assert lock["image"]["base"] == {"name": "debian:bookworm-slim", "sha256": ""}


def test_the_mirror_goes_in_whatever_format_apt_has_it_in(host: Host) -> None:
    keyring, lists = "debian-archive-keyring", host.apt / "sources.list.d"
    ours = STANZA.format("http://mirror.example/debian", "bookworm bookworm-updates", keyring)
    (lists / "debian.sources").write_text("# a remark\n" + ours)
    (lists / "other.sources").write_text(STANZA.format("http://o.example", "bookworm", "other"))
    (lists / "new.sources").write_text(STANZA.format("http://n.example", "trixie", keyring))
    (host.apt / "sources.list").write_text(
        "deb [arch=amd64] http://old.example/debian bookworm-security main contrib\n"
        "# deb http://off.example/debian bookworm main\n"
        "deb http://new.example/debian trixie main\n"
    )
    host.built()
    told = host.secret("apt")
    assert "URIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates" in told
    assert (
        "URIs: http://old.example/debian\nSuites: bookworm-security\nComponents: main contrib"
        in told
    )
    assert told.count("Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg") == 2
    for other in ("o.example/", "n.example", "off.example", "new.example", "remark"):
        assert f"//{other}" not in told


def test_pips_indexes_go_in_and_folders_of_this_host_do_not(host: Host) -> None:
    (host.folder / "pip.conf").write_text(
        "[global]\nindex-url = https://name:word@index.example/simple\n"
        "extra-index-url = file:///somewhere/simple https://more.example/simple\n"
        "find-links = /somewhere/wheels\n"
    )
    host.built()
    assert host.secret("pip").splitlines() == [
        "[global]",
        "index-url = https://name:word@index.example/simple",
        "extra-index-url = https://more.example/simple",
    ]


def test_the_environment_wins_over_pips_file(host: Host) -> None:
    (host.folder / "pip.conf").write_text("[global]\nindex-url = https://one.example/simple\n")
    host.built(PIP_INDEX_URL="https://two.example/simple")
    assert "index-url = https://two.example/simple" in host.secret("pip")


def test_the_hosts_certificates_go_in(host: Host) -> None:
    (host.folder / "ca.pem").write_text("certificates")
    host.built(PIP_CERT=str(host.folder / "ca.pem"))
    assert host.secret("ca") == "certificates"


def test_nothing_handed_in_is_left_behind_or_named_on_the_command_line(host: Host) -> None:
    (host.folder / "pip.conf").write_text("[global]\nindex-url = https://n:word@i.example/simple\n")
    told = host.built()
    assert not Path((host.notes / "place").read_text()).parent.exists()
    assert "word@" not in "\n".join(told)
    kept = [path for path in (host.root / ".cache").rglob("*") if path.is_file()]
    assert kept
    assert [path for path in kept if b"word@" in path.read_bytes()] == []


def test_without_a_base_and_a_mirror_it_says_what_to_do(host: Host) -> None:
    refused = host.image()
    assert refused.returncode == 1
    assert "--base" in refused.stderr


def test_a_context_alone_needs_no_builder(host: Host) -> None:
    done = host.image("--stage-only")
    assert done.returncode == 0, done.stderr
    context = Path(done.stdout.splitlines()[-1])
    assert (context / "Dockerfile").exists()
    assert not (host.notes / "arguments").exists()


def test_a_changed_model_file_stops_the_build_before_it_begins(host: Host, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(SEALED, weights / SEALED.name)
    victim = weights / SEALED.name / "meta.json"
    victim.write_text(victim.read_text() + " ")
    stopped = host.image("--weights", str(weights))
    assert stopped.returncode != 0
    assert "meta.json was changed" in stopped.stdout + stopped.stderr
    assert not (host.notes / "arguments").exists()


@pytest.mark.parametrize("script", ["image", "base-image"])
def test_help_is_the_scripts_own_header(script: str) -> None:
    shown = subprocess.run(
        [ROOT / "ops" / script, "--help"], capture_output=True, text=True, check=True
    )
    assert f"Usage: ops/{script}" in shown.stdout


def test_an_unknown_option_and_an_unknown_profile_are_refused(host: Host) -> None:
    assert "ops/image --help" in host.image("--frobnicate").stderr
    assert "requirements/tpu.txt" in host.image("--profile", "tpu").stderr
