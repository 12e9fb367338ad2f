"""ops/import of a carried release, and of releases with every kind of damage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.host.conftest import Connected
from tests.host.hosts import OPS, Host, damage, image_id, read_env


def run_import(
    on: Host, release: Path, *options: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run the import script of the release on this host."""
    signers = on.folder / "signers"
    if not signers.exists():
        shutil.copy(release / "allowed_signers.example", signers)
    return on.run(release / "import", "--signers", signers, *options, **environ)


def assert_refused(on: Host, release: Path, *reasons: str, **environ: str) -> None:
    """Import must refuse for these reasons and leave the host and the release unchanged."""
    before = on.ids()
    files = _files(release)
    answer = run_import(on, release, **environ)
    assert answer.returncode == 1, answer.stdout
    for reason in reasons:
        assert reason in answer.stderr
    assert on.ids() == before
    assert list(on.images.glob("voice-import.*")) == []
    assert _files(release) == files
    assert "is imported into podman" not in answer.stdout


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def test_rootless_engine_is_refused(carried: Path, offline: Host) -> None:
    podman = shutil.which("podman")
    offline.program("podman", f'[[ "$*" == *Rootless* ]] && echo true || exec {podman} "$@"')
    assert_refused(offline, carried, "podman is rootless here", "as root")


def test_imported_image_is_identical_to_the_exported_one(
    connected: Connected, carried: Path, offline: Host
) -> None:
    before = {path: path.read_bytes() for path in carried.rglob("*.part")}
    answer = run_import(offline, carried)
    assert answer.returncode == 0, answer.stderr
    assert offline.ids() == {connected.id_one}
    assert "image id and 5 layers match the lock" in answer.stdout
    tag = "localhost/voice-appliance:1-cpu"
    assert (
        offline.must("podman", "image", "inspect", "--format", "sha256:{{.Id}}", tag)
        == connected.id_one
    )
    sums = [
        on.must("bash", "-c", f"podman save -q {connected.id_one} | sha256sum")
        for on in (connected.host, offline)
    ]
    assert sums[0] == sums[1]
    assert {path: path.read_bytes() for path in carried.rglob("*.part")} == before


def test_second_import_loads_nothing(carried: Path, offline: Host) -> None:
    assert run_import(offline, carried).returncode == 0
    images = offline.ids()
    again = run_import(offline, carried, "--prove")
    assert again.returncode == 0, again.stderr
    assert "already imported: loading nothing" in again.stdout
    assert "every byte read back" in again.stdout
    assert offline.ids() == images


@pytest.mark.parametrize("part", range(3))
def test_damaged_part_is_named_before_anything_is_loaded(
    carried: Path, offline: Host, part: int
) -> None:
    damage(carried / f"image-{part:03}.part", at=part / 2)
    assert_refused(offline, carried, f"image-{part:03}.part is damaged", "Nothing was loaded")


def test_list_swapped_after_its_signature_was_checked_is_not_used(
    carried: Path, offline: Host
) -> None:
    """The medium is writable while it is imported: the list and a listed file are replaced."""
    swap = (
        f"cd {carried}; sed -i s/^STREAM_PARTS=.*/STREAM_PARTS=1/ release.env; "
        'new="$(sha256sum release.env)"; '
        'sed -i "s/.*  release.env$/${new%% *}  release.env/" SHA256SUMS'
    )
    offline.program("ssh-keygen", f'{shutil.which("ssh-keygen")} "$@"; code=$?; {swap}; exit $code')
    answer = run_import(offline, carried)
    assert answer.returncode == 1
    assert "release.env is damaged" in answer.stderr
    assert "Nothing was loaded" in answer.stderr
    assert offline.ids() == set()


def test_file_changed_after_it_was_hashed_is_not_used(carried: Path, offline: Host) -> None:
    change = f"sed -i s/^STREAM_PARTS=.*/STREAM_PARTS=1/ {carried}/release.env"
    real = shutil.which("openssl")
    offline.program(
        "openssl",
        f'{real} "$@"; code=$?; [[ "$*" != *release.env* ]] || {change}; exit $code',
    )
    answer = run_import(offline, carried)
    assert answer.returncode == 1
    assert "release.env changed while it was read" in answer.stderr
    assert offline.ids() == set()


def watch(on: Host, *names: str) -> Path:
    """Return a file in which every call of these programs leaves a line: its name and arguments."""
    calls = on.folder / "calls"
    for name in names:
        on.program(name, f'echo "{name} $*" >>{calls}; exec {shutil.which(name)} "$@"')
    return calls


@pytest.mark.parametrize("part", range(3))
def test_neither_zstd_nor_the_engine_reads_a_part_that_is_damaged_while_it_is_copied(
    carried: Path, offline: Host, part: int
) -> None:
    """The medium returns other bytes than before; no run before would have noticed."""
    damaged = f"image-{part:03}.part"
    calls = watch(offline, "zstd", "podman")
    change = f"printf x | dd of={carried}/{damaged} bs=1 seek=1000 conv=notrunc status=none"
    offline.program("cp", f'[[ "$*" != *{damaged}* ]] || {change}; exec {shutil.which("cp")} "$@"')
    answer = run_import(offline, carried)
    assert answer.returncode == 1
    assert f"{damaged} is damaged" in answer.stderr and "Nothing was loaded" in answer.stderr
    read = [
        line for line in calls.read_text().splitlines() if line.startswith(("zstd", "podman p"))
    ]
    assert read == []
    assert offline.ids() == set()
    assert list(offline.images.glob("voice-import.*")) == []


def test_part_that_ends_early_while_it_is_copied_is_refused(carried: Path, offline: Host) -> None:
    offline.program("cp", f'{shutil.which("cp")} "$@"; [[ $2 != *.part ]] || truncate -s 9999 "$2"')
    answer = run_import(offline, carried)
    assert answer.returncode == 1
    for part in range(3):
        assert f"image-{part:03}.part is damaged" in answer.stderr
    assert offline.ids() == set()


def test_medium_that_is_unplugged_while_it_is_copied_is_named(carried: Path, offline: Host) -> None:
    offline.program(
        "cp",
        "[[ $1 != image-001.part ]] || { echo 'cp: Input/output error' >&2; exit 1; }\n"
        f'exec {shutil.which("cp")} "$@"',
    )
    answer = run_import(offline, carried)
    assert answer.returncode == 1
    assert "Input/output error" in answer.stderr
    assert "image-001.part could not be copied" in answer.stderr
    assert "Nothing was loaded" in answer.stderr
    assert list(offline.images.glob("voice-import.*")) == []


def test_parts_swapped_after_they_were_verified_are_not_used(
    connected: Connected, carried: Path, offline: Host
) -> None:
    change = f"cp {carried}/image-000.part {carried}/image-001.part"
    offline.program("zstd", f'{change}; exec {shutil.which("zstd")} "$@"')
    answer = run_import(offline, carried, "--prove")
    assert answer.returncode == 0, answer.stderr
    parts = [(carried / f"image-00{part}.part").read_bytes() for part in range(2)]
    assert parts[0] == parts[1]
    assert offline.ids() == {connected.id_one}


def test_every_part_is_read_once(carried: Path, offline: Host, tmp_path: Path) -> None:
    """A slow medium would double the time of an import that reads it twice."""
    trace = tmp_path / "trace"
    shutil.copy(carried / "allowed_signers.example", offline.folder / "signers")
    # fmt: off
    offline.must(
        "strace", "-f", "-qq", "-y", "-e", "trace=openat", "-o", trace,
        carried / "import", "--signers", offline.folder / "signers",
    )
    # fmt: on
    opened = [line for line in trace.read_text().splitlines() if " = " in line]
    for part in sorted(carried.glob("*.part")):
        assert len([line for line in opened if line.endswith(f"<{part.resolve()}>")]) == 1


def test_temporary_files_go_where_tmpdir_says(carried: Path, offline: Host, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    seen = offline.folder / "seen"
    offline.program("zstd", f'ls {place}/*/* >{seen}; exec {shutil.which("zstd")} "$@"')
    answer = run_import(offline, carried, TMPDIR=str(place))
    assert answer.returncode == 0, answer.stderr
    assert [line[-14:] for line in seen.read_text().splitlines() if line.endswith(".part")] == [
        f"image-00{part}.part" for part in range(3)
    ]
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("tool", ["ssh-keygen", "zstd"])
def test_missing_program_is_named_and_the_release_is_not_accused(
    carried: Path, offline: Host, tool: str
) -> None:
    answer = run_import(offline, carried, PATH=offline.path_without(tool))
    assert answer.returncode == 1
    assert f"this host lacks {tool} (package" in answer.stderr
    assert "Nothing was loaded" in answer.stderr
    for accusation in ("not what was signed", "damaged", "medium"):
        assert accusation not in answer.stderr
    assert offline.ids() == set()


@pytest.mark.parametrize("name", ["image-manifest.lock", "release.env", "preflight", "release.sh"])
def test_damaged_file_is_named_before_anything_is_loaded(
    carried: Path, offline: Host, name: str, tmp_path: Path
) -> None:
    # As the guide advises: with scripts that did not come with the release.
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    for script in ("import", "common.sh", "release.sh"):
        shutil.copy(OPS / script, trusted)
    damage(carried / name)
    shutil.copy(carried / "allowed_signers.example", offline.folder / "signers")
    answer = offline.run(trusted / "import", "--signers", offline.folder / "signers", carried)
    assert answer.returncode == 1
    assert f"{name} is damaged" in answer.stderr
    assert offline.ids() == set()


def test_missing_part_is_named(carried: Path, offline: Host) -> None:
    (carried / "image-001.part").unlink()
    assert_refused(offline, carried, "image-001.part is missing", "Nothing was loaded")


def test_swapped_parts_are_named(carried: Path, offline: Host) -> None:
    (carried / "image-000.part").rename(carried / "kept")
    (carried / "image-001.part").rename(carried / "image-000.part")
    (carried / "kept").rename(carried / "image-001.part")
    assert_refused(offline, carried, "image-000.part has the content of image-001.part")


def test_truncated_part_is_named_with_its_size(carried: Path, offline: Host) -> None:
    last = carried / "image-002.part"
    os.truncate(last, 1000)
    assert_refused(
        offline, carried, "image-002.part is truncated: 1000 of", "The transfer was interrupted"
    )


def test_unlisted_file_is_refused(carried: Path, offline: Host) -> None:
    (carried / "image-003.part").write_bytes(b"more")
    (carried / "licences/.hidden").write_text("?")
    (carried / "a\nsignature: by \x1b[2Jx").write_text("?")  # a name that writes on the terminal
    assert_refused(
        offline,
        carried,
        "image-003.part is not listed",
        "licences/.hidden is not listed",
        "warning: a?signature: by ?[2Jx is not listed",
    )


def test_link_in_place_of_a_file_is_refused(carried: Path, offline: Host) -> None:
    (carried / "README").rename(offline.folder / "README")
    (carried / "README").symlink_to(offline.folder / "README")
    assert_refused(offline, carried, "README is not a plain file")


def test_release_of_an_unknown_signer_is_refused_with_the_key(carried: Path, offline: Host) -> None:
    offline.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", offline.folder / "other")
    public = (offline.folder / "other.pub").read_text()
    (offline.folder / "signers").write_text(f"other {public}")
    assert_refused(offline, carried, "wrong signer: SHA256:", "does not list it")


@pytest.mark.parametrize("option", [True, False])
def test_release_signed_with_a_revoked_key_is_refused(
    carried: Path, offline: Host, option: bool
) -> None:
    """By option, or by a file of the default name beside the list of signers."""
    signers, revoked = offline.folder / "signers", offline.folder / "revoked_signers"
    shutil.copy(carried / "allowed_signers.example", signers)
    key = signers.read_text().split(" ", 2)[2]
    other = offline.folder / "other"
    offline.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other)
    options = ["--revoked", str(revoked)] if option else []
    revoked.write_text(f"{other.with_suffix('.pub').read_text()}{key}")
    answer = run_import(offline, carried, *options)
    assert answer.returncode == 1
    assert "revokes the key SHA256:" in answer.stderr and "Nothing was loaded" in answer.stderr
    assert offline.ids() == set()
    revoked.write_text(other.with_suffix(".pub").read_text())
    assert run_import(offline, carried, *options).returncode == 0


def test_links_do_not_hide_the_revoked_keys(carried: Path, offline: Host) -> None:
    """The list belongs beside the path of the signers as given. A link to nowhere is a list."""
    target = offline.folder / "target"
    target.mkdir()
    signers, revoked = offline.folder / "signers", offline.folder / "revoked_signers"
    shutil.copy(carried / "allowed_signers.example", target / "signers")
    signers.symlink_to(target / "signers")
    revoked.write_text(signers.read_text().split(" ", 2)[2])
    assert_refused(offline, carried, "revokes the key SHA256:")
    revoked.unlink()
    revoked.symlink_to(offline.folder / "missing")
    assert_refused(offline, carried, "revoked_signers cannot be read")


def test_signer_whose_time_has_passed_is_refused(carried: Path, offline: Host) -> None:
    """A site that never hears of a revocation is protected by the end that it gave the key."""
    signer, rest = (carried / "allowed_signers.example").read_text().split(" ", 1)
    (offline.folder / "signers").write_text(f'{signer} valid-before="20200101",{rest}')
    assert_refused(offline, carried, "wrong signer: SHA256:", "or its time there has passed")
    (offline.folder / "signers").write_text(f'{signer} valid-before="29991231",{rest}')
    assert run_import(offline, carried).returncode == 0


def test_missing_list_of_revoked_keys_is_refused_if_it_was_named(
    carried: Path, offline: Host
) -> None:
    answer = run_import(offline, carried, "--revoked", str(offline.folder / "none"))
    assert answer.returncode == 1
    assert "none cannot be read: it lists the revoked keys" in answer.stderr


def test_list_changed_after_signing_is_refused(carried: Path, offline: Host) -> None:
    sums = carried / "SHA256SUMS"
    sums.write_text(sums.read_text() + f"{'0' * 64}  more\n")
    assert_refused(offline, carried, "SHA256SUMS is not what was signed")


@pytest.mark.parametrize("name", ["SHA256SUMS", "SHA256SUMS.sig"])
def test_release_without_its_signature_is_refused(carried: Path, offline: Host, name: str) -> None:
    (carried / name).unlink()
    assert_refused(offline, carried, f"{name} is missing")


def test_import_without_a_list_of_signers_is_refused(carried: Path, offline: Host) -> None:
    answer = offline.run(carried / "import")
    assert answer.returncode == 1
    assert "allowed_signers cannot be read: it lists who may sign" in answer.stderr


def test_too_small_disk_is_refused_before_anything_is_loaded(
    carried: Path, small_disk_host: Host
) -> None:
    assert_refused(small_disk_host, carried, "disk full: podman needs 16 MB", "Nothing was loaded")


def test_disk_that_fills_up_while_loading_is_cleaned_up(
    carried: Path, small_disk_host: Host
) -> None:
    small_disk_host.program("df", "echo Avail; echo 900000000000")
    small_disk_host.ids()
    free = shutil.disk_usage(small_disk_host.images).free
    assert_refused(small_disk_host, carried, "no space left on device", "Nothing was kept")
    assert shutil.disk_usage(small_disk_host.images).free > free - 200_000


def test_interrupted_import_leaves_nothing_and_can_be_repeated(
    connected: Connected, carried: Path, offline: Host
) -> None:
    podman = shutil.which("podman")
    begun = offline.folder / "begun"
    offline.program(
        "podman",
        f'[[ $1 != pull ]] || {{ head -c 100000 >"$TMPDIR/half"; touch {begun}; sleep 60; }}\n'
        f'exec {podman} "$@"',
    )
    shutil.copy(carried / "allowed_signers.example", offline.folder / "signers")
    command = [str(carried / "import"), "--signers", str(offline.folder / "signers")]
    process = subprocess.Popen(command, env=offline.environ, start_new_session=True)
    until = time.monotonic() + 60
    while not begun.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert list(offline.images.glob("voice-import.*/half"))
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(300) == 130
    assert list(offline.images.glob("voice-import.*")) == []
    (offline.folder / "bin/podman").unlink()
    assert offline.ids() == set()
    assert run_import(offline, carried).returncode == 0
    assert offline.ids() == {connected.id_one}


def test_files_of_a_killed_import_are_removed_by_the_next_one(carried: Path, offline: Host) -> None:
    offline.ids()
    left = offline.images / "voice-import.99999999"
    left.mkdir()
    (left / "half").write_bytes(b"half")
    assert run_import(offline, carried).returncode == 0
    assert not left.exists()


def test_tag_of_another_image_is_not_moved(
    connected: Connected, carried: Path, offline: Host, tmp_path: Path
) -> None:
    other = tmp_path / "other.tar"
    connected.host.must("podman", "save", "--quiet", "--output", other, "tiny:3")
    offline.must("podman", "load", "--quiet", "--input", other)
    offline.must("podman", "tag", "tiny:3", "localhost/voice-appliance:1-cpu")
    assert_refused(
        offline, carried, "localhost/voice-appliance:1-cpu is another image in podman already"
    )


def test_prove_finds_damage_in_the_image_store(carried: Path, offline: Host) -> None:
    assert run_import(offline, carried).returncode == 0
    (stored,) = offline.images.glob("overlay/*/diff/opt/voice/weights/model.gguf")
    damage(stored)
    assert run_import(offline, carried).returncode == 0
    answer = run_import(offline, carried, "--prove")
    assert answer.returncode == 1
    assert "podman returns other bytes for" in answer.stderr
    assert "It was imported before, and stays" in answer.stderr
    assert len(offline.ids()) == 1


def test_unknown_or_silent_engine_is_refused(carried: Path, offline: Host) -> None:
    shutil.copy(carried / "allowed_signers.example", offline.folder / "signers")
    answer = run_import(offline, carried, "--engine", "nerdctl")
    assert answer.returncode == 1
    assert "--engine is podman or docker, not nerdctl" in answer.stderr
    answer = run_import(offline, carried, "--engine", "docker", DOCKER_HOST="unix:///nowhere")
    assert answer.returncode == 1
    assert "docker" in answer.stderr and "Nothing was loaded" in answer.stderr


def test_release_is_verified_by_the_commands_of_its_readme(
    connected: Connected, carried: Path, offline: Host
) -> None:
    readme = (carried / "README").read_text()
    lines = [line.strip() for line in readme.splitlines() if line.startswith("  ")]
    by_hand = [line for line in lines if line.startswith(("ssh-keygen", "sha256sum"))]
    assert len(by_hand) == 2
    for line in by_hand:
        offline.must(
            "bash", "-c", f"cd {carried} && {line.replace('FILE', 'allowed_signers.example')}"
        )
    assert connected.id_one in readme
    lock = carried / "image-manifest.lock"
    assert lock.read_bytes() == connected.lock_one.read_bytes()
    provenance = json.loads((carried / "provenance.json").read_text())
    assert provenance["subject"][0]["digest"]["sha256"] == connected.id_one.removeprefix("sha256:")
    assert provenance["predicate"]["buildDefinition"]["externalParameters"]["sbom"] is False
    release = read_env(carried / "release.env")
    parts = sorted(carried.glob("*.part"))
    assert [part.stat().st_size for part in parts[:-1]] == [2_000_000] * (len(parts) - 1)
    assert int(release["STREAM_PARTS"]) == len(parts)


def test_release_without_advisories_does_not_claim_to_be_free_of_vulnerabilities(
    offline: Host, carried: Path
) -> None:
    expected = "known vulnerabilities: NOT CHECKED"
    for name in ("vulnerabilities.md", "README"):
        assert expected in (carried / name).read_text()
    done = run_import(offline, carried)
    assert done.returncode == 0, done.stderr
    assert f"{expected}\n" in done.stdout
    assert "0 to fix" not in done.stdout


def test_release_has_the_licences_of_packages_and_models(carried: Path) -> None:
    licences = carried / "licences"
    assert (licences / "python/weigh-2.5/LICENSE").read_text() == "MIT License\n"
    assert "weigh-2.5: MIT; 301 files" in (licences / "python.txt").read_text()
    assert (licences / "debian/libscale.txt").read_text() == "BSD-3-Clause\n"
    models = (licences / "models.txt").read_text()
    assert "kokoro-82m-voices: Apache-2.0; from hexgrad/Kokoro-82M v1.0" in models
    assert "whisper-tiny-en: MIT" in models
    assert "ultravox" not in models  # of the other profile


def test_carried_scripts_print_their_help(carried: Path, offline: Host) -> None:
    for script in ("import", "preflight"):
        assert f"Usage: ops/{script}" in offline.must(carried / script, "--help")
    assert (
        image_id(carried / "image-manifest.lock") == read_env(carried / "release.env")["IMAGE_ID"]
    )
