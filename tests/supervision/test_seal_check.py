"""The seal check at start: when it reads every byte, and what it records."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from appliance import code_seal, journal, run_folder
from appliance.errors import BadSetting, SealBroken
from appliance.settings import Settings, load
from appliance.supervision import seal_check
from appliance.supervision.metrics import SealMetrics
from appliance.weights import manifest, seal
from appliance.weights.manifest import Manifest, Source, Weight

ROOT = Path(__file__).parents[2]
CONTENT = b"weights"


def in_folder(folder: Path, mode: str = "auto") -> Settings:
    """Return settings for the installation in `folder`."""
    return load(
        {
            "VOICE_PATHS_RUN": str(folder / "run"),
            "VOICE_PATHS_WEIGHTS": str(folder / "weights"),
            "VOICE_PATHS_LOCK": str(folder / "image-manifest.lock"),
            "VOICE_SUPERVISION_SEAL_CHECK": mode,
        }
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of an installation with one sealed file."""
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / "model.gguf"
    path.write_bytes(CONTENT)
    model = Source("model", "what", "origin", "licence", "packager", "evidence", ("cpu",), "run")
    file = Weight("model.gguf", len(CONTENT), seal.sha256_of(path), "model", ())
    lock = tmp_path / "image-manifest.lock"
    lock.write_text(manifest.render(Manifest({"model": model}, {}, (file,), {})))
    return in_folder(tmp_path)


def read_every_byte(settings: Settings) -> bool:
    """Run the seal check, and return whether it read every byte."""
    return bool(run_folder.read_seal(settings.paths.run)["full"])


def metrics(settings: Settings) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(SealMetrics(run_folder.read_seal(settings.paths.run)))
    return registry


def test_first_start_reads_every_byte_and_a_restart_does_not(settings: Settings) -> None:
    seal_check.verify(settings)
    assert read_every_byte(settings)
    seal_check.verify(settings)
    assert not read_every_byte(settings)


@pytest.mark.parametrize("changed", ["host", "lock", "run folder"])
def test_every_byte_is_read_again_after_a_change(
    settings: Settings, changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal_check.verify(settings)
    if changed == "host":
        (tmp_path / "boot_id").write_text("another boot")
        monkeypatch.setattr(seal_check, "HOST_BOOT_ID", tmp_path / "boot_id")
    elif changed == "lock":
        settings.paths.lock.write_text(settings.paths.lock.read_text() + "\n")
    else:
        (settings.paths.run / "seal.json").unlink()
    seal_check.verify(settings)
    assert read_every_byte(settings)


def test_every_byte_is_read_if_the_host_has_no_boot_id(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal_check, "HOST_BOOT_ID", tmp_path / "missing")
    seal_check.verify(settings)
    seal_check.verify(settings)
    assert read_every_byte(settings)


@pytest.mark.parametrize(("mode", "full"), [("full", True), ("quick", False)])
def test_configured_mode_overrides_the_recorded_check(
    settings: Settings, tmp_path: Path, mode: str, full: bool
) -> None:
    for _ in range(2):
        seal_check.verify(in_folder(tmp_path, mode))
        assert read_every_byte(settings) == full


def test_quick_check_reports_the_lock_as_never_fully_checked(
    settings: Settings, tmp_path: Path
) -> None:
    seal_check.verify(settings)
    settings.paths.lock.write_text(settings.paths.lock.read_text() + "\n")
    seal_check.verify(in_folder(tmp_path, "quick"))
    labels = {"lock_sha256": seal.sha256_of(settings.paths.lock), "code_sha256": ""}
    assert metrics(settings).get_sample_value("voice_seal_info", labels) == 1
    seal_check.verify(settings)
    assert read_every_byte(settings), "this lock was never checked in full"


def test_unknown_mode_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="VOICE_SUPERVISION_SEAL_CHECK"):
        in_folder(tmp_path, "no")


def test_changed_file_breaks_the_seal_at_the_first_start(settings: Settings) -> None:
    (settings.paths.weights / "model.gguf").write_bytes(CONTENT[::-1])
    with pytest.raises(SealBroken, match=r"model\.gguf was changed"):
        seal_check.verify(settings)
    assert metrics(settings).get_sample_value("voice_seal_ok") == 0


def test_missing_weights_break_the_real_seal(tmp_path: Path) -> None:
    settings = load(
        {
            "VOICE_PATHS_RUN": str(tmp_path / "run"),
            "VOICE_PATHS_WEIGHTS": str(tmp_path),
            "VOICE_PATHS_LOCK": str(ROOT / "image-manifest.lock"),
        }
    )
    with pytest.raises(SealBroken, match="missing"):
        seal_check.verify(settings)


def test_result_is_logged_and_exposed_as_metrics(
    settings: Settings, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    journal.configure(settings.journal, "boot", strict=True)
    seal_check.verify(settings)
    line = json.loads(capfdbinary.readouterr().out)
    assert line["event"] == "seal intact"
    assert (line["state"], line["files"], line["bytes"]) == ("full", 1, len(CONTENT))
    value = metrics(settings).get_sample_value
    assert value("voice_seal_ok") == value("voice_seal_full") == 1
    assert value("voice_seal_bytes") == len(CONTENT)
    assert value("voice_seal_verify_seconds") is not None
    verified = value("voice_seal_verified_timestamp_seconds")
    seal_check.verify(settings)
    value = metrics(settings).get_sample_value
    assert value("voice_seal_full") == 0
    assert value("voice_seal_verified_timestamp_seconds") == verified


def sealed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make the code count as that of the image, with a list of one file; return that file."""
    path = tmp_path / "code.py"
    path.write_text("value = 1\n")
    entry = code_seal.CodeEntry(seal.sha256_of(path), path.stat().st_size)
    listed = code_seal.render(code_seal.CodeList((), (), {str(path): entry}))
    (tmp_path / "code.list").write_text(listed)
    monkeypatch.setattr(code_seal, "is_sealed", lambda: True)
    check = functools.partial(code_seal.verify, str(tmp_path / "code.list"))
    monkeypatch.setattr(code_seal, "verify", check)
    return path


def test_start_without_the_launcher_verifies_the_code_itself(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(code_seal.RESULT, raising=False)
    path = sealed(monkeypatch, tmp_path)
    seal_check.verify(settings)
    assert run_folder.read_seal(settings.paths.run)["code"]["files"] == 1
    path.write_text("value = 2\n")
    with pytest.raises(SealBroken, match=r"code.py was changed"):
        seal_check.verify(settings)


def test_check_of_the_launcher_is_recorded_and_exported(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed(monkeypatch, tmp_path)
    monkeypatch.setenv(code_seal.RESULT, code_seal.CodeReport("c0de", 3, 4_000, 1.5, True).encode())
    seal_check.verify(settings)
    labels = {"lock_sha256": seal.sha256_of(settings.paths.lock), "code_sha256": "c0de"}
    registry = metrics(settings)
    assert registry.get_sample_value("voice_seal_info", labels) == 1
    assert registry.get_sample_value("voice_seal_code_bytes") == 4_000
    assert registry.get_sample_value("voice_seal_code_verify_seconds") == 1.5
