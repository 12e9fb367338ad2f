"""release.env and image-manifest.lock as the scripts read them: nothing in them is evaluated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host.hosts import OPS

ID = "sha256:" + "0123456789abcdef" * 4
VALUES = {
    "SCHEMA": "1",
    "PROFILE": "cpu",
    "VERSION": "0.1.0",
    "IMAGE_ID": ID,
    "EXPORTED_EPOCH_SECONDS": "1790000000",
    "STREAM_BYTES": "5000000",
    "STREAM_PARTS": "3",
    "PART_BYTES": "2000000",
    "BASE_LAYERS": "1",
    "BASE_ID": ID,
    "BASE_VERSION": "0.0.9",
    "LAYERS": "2",
    "LAYER_0_DIFF_ID": ID,
    "LAYER_0_BYTES": "0",
    "LAYER_1_DIFF_ID": ID,
    "LAYER_1_BYTES": "5000000",
}


def read(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Read a release.env as ops/import does, and print some of the variables."""
    (folder / "release.env").write_text(text, encoding="utf-8")
    script = (
        f"source {OPS}/common.sh; source {OPS}/release.sh; read_release release.env; "
        'printf "%s\\n" "$TAG" "$IMAGE_ID" "$PART_COUNT" "$OMITTED_LAYERS" "${LAYER_BYTES[*]}"'
    )
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )


def lines(**changes: str | None) -> str:
    values = {**VALUES, **changes}
    return "".join(f"{name}={value}\n" for name, value in values.items() if value is not None)


def test_valid_release_env_is_read(tmp_path: Path) -> None:
    done = read(tmp_path, lines())
    assert done.stderr == ""
    tag = "localhost/voice-appliance:0.1.0-cpu"
    assert done.stdout.splitlines() == [tag, ID, "3", "1", "0 5000000"]


def test_full_release_needs_no_base(tmp_path: Path) -> None:
    done = read(tmp_path, lines(BASE_LAYERS="0", BASE_ID=None, BASE_VERSION=None))
    assert done.returncode == 0, done.stderr


CHECKED = {
    "ADVISORIES": "checked",
    "ADVISORIES_NEWEST": "2026-11-20",
    "ADVISORIES_FIXABLE": "0",
    "ADVISORIES_EXPIRED": "0",
    "ADVISORIES_UNFIXED": "12",
    "ADVISORIES_ACCEPTED": "3",
}


def vulnerabilities(folder: Path, **changes: str | None) -> str:
    """Return the line about known vulnerabilities that ops/import prints, or an error."""
    (folder / "release.env").write_text(lines(**changes), encoding="utf-8")
    script = (
        f"source {OPS}/common.sh; source {OPS}/release.sh; read_release release.env; "
        'printf "%s" "$VULNERABILITIES"'
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout or done.stderr


def test_line_about_vulnerabilities_has_counts_and_the_date_of_the_data(tmp_path: Path) -> None:
    line = vulnerabilities(tmp_path, **CHECKED)
    assert line == (
        "known vulnerabilities: 0 to fix, 0 with an expired acceptance, 12 without a fix, "
        "3 accepted; advisories of 2026-11-20"
    )
    partly = vulnerabilities(tmp_path, **CHECKED | {"ADVISORIES": "partly-checked"})
    assert partly == f"{line}; SOME PACKAGES NOT CHECKED"


def test_release_that_was_not_checked_says_so(tmp_path: Path) -> None:
    unchecked = CHECKED | {"ADVISORIES": "not-checked", "ADVISORIES_NEWEST": "none"}
    for changes in (unchecked, {}):  # without the values: a release of an earlier version
        assert vulnerabilities(tmp_path, **changes) == "known vulnerabilities: NOT CHECKED"


@pytest.mark.parametrize(
    ("name", "value"),
    [("ADVISORIES", "clean"), ("ADVISORIES_NEWEST", "today"), ("ADVISORIES_FIXABLE", None)],
)
def test_invalid_value_about_vulnerabilities_is_refused(
    tmp_path: Path, name: str, value: str | None
) -> None:
    assert f"release.env: {name} is" in vulnerabilities(tmp_path, **CHECKED | {name: value})


@pytest.mark.parametrize(
    "line",
    [
        "VERSION=$(touch evaluated)",
        "VERSION=`touch evaluated`",
        "VERSION=1; touch evaluated",
        "VERSION=a[$(touch evaluated)]",
        'VERSION="0.1.0"',
        "VERSION = 0.1.0",
        "export VERSION=0.1.0",
        "version=0.1.0",
        "VERSIÖN=0.1.0",
        "# a comment",
        "",
        "PATH",
    ],
)
def test_line_that_is_not_name_and_value_is_refused(tmp_path: Path, line: str) -> None:
    done = read(tmp_path, f"{lines(VERSION=None)}{line}\n")
    assert done.returncode == 1
    assert f"release.env, line {len(VALUES)}: not NAME=VALUE" in done.stderr
    assert not (tmp_path / "evaluated").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROFILE", "tpu"),
        ("VERSION", "../0.1.0"),
        ("VERSION", ""),
        ("IMAGE_ID", "sha256:0123"),
        ("STREAM_BYTES", "010"),  # bash would read it as octal
        ("STREAM_BYTES", "-1"),
        ("STREAM_BYTES", "PATH"),
        ("STREAM_PARTS", "0"),
        ("LAYERS", "3"),  # there are two
        ("LAYER_1_BYTES", "1e6"),
        ("BASE_ID", None),
        ("BASE_LAYERS", "2"),
    ],
)
def test_invalid_value_is_refused_by_name(tmp_path: Path, name: str, value: str | None) -> None:
    done = read(tmp_path, lines(**{name: value}))
    assert done.returncode == 1
    assert f"release.env: {'LAYER_2_DIFF_ID' if name == 'LAYERS' else name} is " in done.stderr


def test_duplicate_name_is_refused(tmp_path: Path) -> None:
    done = read(tmp_path, lines() + "VERSION=0.2.0\n")
    assert f"line {len(VALUES) + 1}: VERSION is set twice" in done.stderr


def test_other_schema_is_refused(tmp_path: Path) -> None:
    assert "release.env has a different schema version" in read(tmp_path, lines(SCHEMA="2")).stderr


def lock_env(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, OPS / "lock_env.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


IMAGE = {
    "id": ID,
    "version": "0.1.0",
    "profile": "cpu",
    "layers": [{"diff_id": ID, "size_bytes": 5}, {"diff_id": ID, "size_bytes": 0}],
}


def test_image_of_a_lock_is_printed_as_lines(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(json.dumps({"image": IMAGE}))
    assert lock_env("image", lock).stdout.splitlines() == [
        "PROFILE=cpu",
        "VERSION=0.1.0",
        f"IMAGE_ID={ID}",
        "LAYERS=2",
        f"LAYER_0_DIFF_ID={ID}",
        "LAYER_0_BYTES=5",
        f"LAYER_1_DIFF_ID={ID}",
        "LAYER_1_BYTES=0",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("{}", "has no image entry"),
        ("[]", "is not an image-manifest.lock"),
        (json.dumps({"image": {**IMAGE, "id": "sha256:1"}}), "has no image entry"),
        (json.dumps({"image": {**IMAGE, "version": ""}}), "has no version or profile"),
        (json.dumps({"image": {**IMAGE, "layers": []}}), "has no layers"),
        (json.dumps({"image": {**IMAGE, "layers": [{}]}}), "is not an image-manifest.lock"),
    ],
)
def test_unusable_lock_is_refused(tmp_path: Path, text: str, message: str) -> None:
    lock = tmp_path / "lock"
    lock.write_text(text)
    done = lock_env("image", lock)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {lock} {message}")


def test_licences_of_a_lock_leave_out_test_models_and_other_profiles(tmp_path: Path) -> None:
    def source(profiles: list[str], purpose: str) -> dict[str, object]:
        return {"profiles": profiles, "purpose": purpose, "licence": "MIT", "origin": "somewhere"}

    sources = {
        "voices": source(["cpu", "gpu"], "run"),
        "llm": source(["gpu"], "run"),
        "recognizer": source(["cpu"], "test"),
    }
    lock = tmp_path / "lock"
    lock.write_text(json.dumps({"sources": sources}))
    assert lock_env("licences", lock, "cpu").stdout == "voices: MIT; from somewhere\n"


def test_unknown_arguments_print_the_usage() -> None:
    done = lock_env("frobnicate")
    assert done.returncode == 2
    assert "ops/lock_env.py image LOCK" in done.stderr
