"""The look at the seal at the start: how thorough, how often, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from appliance import journal, run_folder
from appliance.errors import SealBroken
from appliance.settings import PathsConfig, Settings, SupervisionConfig
from appliance.supervision import sealing
from appliance.weights import manifest, seal
from appliance.weights.manifest import Manifest, Source, Weight

ROOT = Path(__file__).parents[2]
CONTENT = b"weights"


@pytest.fixture
def given(tmp_path: Path) -> Settings:
    """An installation with one sealed file."""
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / "model.gguf"
    path.write_bytes(CONTENT)
    model = Source("model", *"wolpe", ("cpu",), "run")
    file = Weight("model.gguf", len(CONTENT), seal.sha256_of(path), "model", ())
    lock = tmp_path / "image-manifest.lock"
    lock.write_text(manifest.render(Manifest({"model": model}, {}, (file,), {})))
    return Settings(paths=PathsConfig(tmp_path / "run", tmp_path / "weights", lock))


def looked(given: Settings) -> bool:
    """Whether the last look read every byte."""
    return bool(run_folder.read_seal(given.paths.run)["full"])


def metrics(given: Settings) -> dict[str, float | None]:
    registry = CollectorRegistry()
    registry.register(sealing.SealMetrics(run_folder.read_seal(given.paths.run)))
    names = ("ok", "full", "bytes", "verified_timestamp_seconds", "verify_seconds")
    return {name: registry.get_sample_value(f"voice_seal_{name}") for name in names}


def test_the_first_start_reads_every_byte_and_a_restart_does_not(given: Settings) -> None:
    sealing.verify(given)
    assert looked(given)
    sealing.verify(given)
    assert not looked(given)


@pytest.mark.parametrize("changed", ["host", "lock", "run folder"])
def test_every_byte_is_read_again_when_what_was_remembered_may_not_hold(
    given: Settings, changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealing.verify(given)
    if changed == "host":
        (tmp_path / "boot_id").write_text("another start")
        monkeypatch.setattr(sealing, "HOST_START", tmp_path / "boot_id")
    elif changed == "lock":
        given.paths.lock.write_text(given.paths.lock.read_text() + "\n")
    else:
        (given.paths.run / "seal.json").unlink()
    sealing.verify(given)
    assert looked(given)


def test_a_host_that_does_not_tell_its_starts_gets_every_byte_read(
    given: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "HOST_START", tmp_path / "nothing")
    sealing.verify(given)
    sealing.verify(given)
    assert looked(given)


@pytest.mark.parametrize(("check", "full"), [("full", True), ("quick", False)])
def test_the_setting_wins_over_what_is_remembered(given: Settings, check: str, full: bool) -> None:
    for _ in range(2):
        sealing.verify(Settings(paths=given.paths, supervision=SupervisionConfig(seal_check=check)))
        assert looked(given) == full


def test_the_lock_that_runs_is_named_even_by_a_quick_look(given: Settings) -> None:
    registry = CollectorRegistry()
    sealing.verify(given)
    given.paths.lock.write_text(given.paths.lock.read_text() + "\n")
    sealing.verify(Settings(paths=given.paths, supervision=SupervisionConfig(seal_check="quick")))
    registry.register(sealing.SealMetrics(run_folder.read_seal(given.paths.run)))
    sha256 = seal.sha256_of(given.paths.lock)
    assert registry.get_sample_value("voice_seal_info", {"lock_sha256": sha256}) == 1
    sealing.verify(given)
    assert looked(given), "a quick look does not vouch for a lock that was never read in full"


def test_a_changed_byte_is_found_at_the_first_start_and_named(given: Settings) -> None:
    (given.paths.weights / "model.gguf").write_bytes(CONTENT[::-1])
    with pytest.raises(SealBroken, match=r"model\.gguf was changed"):
        sealing.verify(given)
    assert metrics(given)["ok"] == 0


def test_an_installation_without_its_weights_breaks_the_real_seal(tmp_path: Path) -> None:
    paths = PathsConfig(run=tmp_path / "run", weights=tmp_path, lock=ROOT / "image-manifest.lock")
    with pytest.raises(SealBroken, match="missing"):
        sealing.verify(Settings(paths=paths))


def test_the_result_is_a_line_of_the_log_and_a_metric(
    given: Settings, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    journal.configure(given.journal, "boot", strict=True)
    sealing.verify(given)
    line = json.loads(capfdbinary.readouterr().out)
    assert line["event"] == "seal intact"
    assert (line["state"], line["files"], line["bytes"]) == ("full", 1, len(CONTENT))
    told = metrics(given)
    assert (told["ok"], told["full"], told["bytes"]) == (1, 1, len(CONTENT))
    first = told["verified_timestamp_seconds"]
    sealing.verify(given)
    again = metrics(given)
    assert (again["full"], again["verified_timestamp_seconds"]) == (0, first)
