"""The build context: which files are in which layer, and that it contains nothing unsealed."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from appliance import settings
from appliance.errors import BadSetting, SealBroken
from appliance.weights import manifest, seal
from appliance.weights.manifest import Manifest, Weight
from ops.bundle.context import (
    LAYERS,
    image_sources,
    layer_contents,
    layout,
    stage,
    total_bytes,
)
from ops.bundle.fetch import FetchOptions, fetch
from tests.ops.bundle.fake_registry import (
    BIG,
    TEST_MODEL,
    VOICES,
    FakeRegistry,
    make_registry,
    with_choice,
)

ROOT = Path(__file__).parents[3]
GIGABYTE = 1_000_000_000


def weight(path: str, size: int, source: str = "model") -> Weight:
    return Weight(path, size, "0" * 64, source, ())


def paths(layers: list[list[Weight]]) -> list[list[str]]:
    return [[weight.path for weight in layer] for layer in layers]


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Manifest]:
    """A repository with its model files, and its lock."""
    registry, lock = make_registry(tmp_path / "registry")
    return make_repository(tmp_path / "repository", lock, registry), lock


def make_repository(root: Path, lock: Manifest, registry: FakeRegistry) -> Path:
    options = FetchOptions(tests=True)
    fetch(root / "weights", lock, root / "cache", options, download=registry.download)
    (root / "image-manifest.lock").write_text(manifest.render(lock))
    for name in ("Dockerfile", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    for name in (
        "ops/bundle/fetch.py",
        "appliance/weights/seal.py",
        "appliance/__pycache__/x.pyc",
        "client/call.py",
        "client/questions/1.wav",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (root / "requirements").mkdir()
    for name in ("cpu.txt", "cpu-more.txt", "gpu.txt", "cpu.in"):
        (root / "requirements" / name).write_text("")
    return root


def test_large_file_has_its_own_layer_and_small_files_are_grouped_by_model() -> None:
    shards = [weight("llm/1", 5 * GIGABYTE), weight("llm/2", 4 * GIGABYTE), weight("llm/config", 9)]
    voices = [weight("tts/a", 5, "voices"), weight("tts/b", 6, "voices")]
    layers = layout([*voices, *shards])
    assert paths(layers) == [["llm/1"], ["llm/2"], ["tts/a", "tts/b"], ["llm/config"]]


def test_changed_small_file_leaves_other_layers_unchanged() -> None:
    files = [weight(f"m{n}/x", (9 - n) * GIGABYTE, f"m{n}") for n in range(4)]
    changed = [*files[:3], replace(files[3], sha256="1" * 64)]
    assert layout(files)[:3] == layout(changed)[:3]


def test_groups_beyond_the_number_of_layers_share_the_last_one() -> None:
    files = [weight(f"{n:02}", n + 1, f"model-{n}") for n in range(LAYERS + 5)]
    layers = layout(files)
    assert len(layers) == LAYERS
    assert sorted(path for layer in paths(layers) for path in layer) == sorted(
        weight.path for weight in files
    )
    assert [len(layer) for layer in layers[:-1]] == [1] * (LAYERS - 1)


def test_dockerfile_copies_every_layer_in_order() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY weights-")]
    assert copied == [f"weights-{number:02}/" for number in range(LAYERS)]


def test_stage_places_every_file_once_and_complete(place: tuple[Path, Manifest]) -> None:
    root, _ = place
    context = root / "context"
    stage(root, root / "weights", "cpu", context)
    staged = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for folder in context.glob("weights-*")
        for path in folder.rglob("*")
        if path.is_file()
    }
    voices = {f"voices/{name}": content for name, content in VOICES.items()}
    assert staged == {"big/model.gguf": BIG, **voices}
    assert len(list(context.glob("weights-*"))) == LAYERS
    assert sorted(filter(None, layer_contents(context).values())) == ["big", "voices"]


def test_models_of_the_tests_are_not_in_the_image(place: tuple[Path, Manifest]) -> None:
    root, lock = place
    assert (root / "weights/test/model.gguf").read_bytes() == TEST_MODEL
    assert [source.name for source in image_sources(lock, "cpu")] == ["big", "voices"]
    assert image_sources(lock, "gpu") == []
    stage(root, root / "weights", "cpu", root / "context")
    staged = [path for path in (root / "context").rglob("*") if path.is_file()]
    assert TEST_MODEL not in [path.read_bytes() for path in staged]


@pytest.mark.parametrize("damage", ["changed", "missing", "truncated"])
def test_file_that_differs_from_the_lock_stops_the_build_and_is_named(
    place: tuple[Path, Manifest], damage: str
) -> None:
    root, _ = place
    victim = root / "weights/voices/a.bin"
    content = victim.read_bytes()
    victim.unlink()
    if damage != "missing":
        victim.write_bytes(content[::-1] + b"x" if damage == "changed" else content[:-1])
    with pytest.raises(SealBroken, match=r"voices/a\.bin"):
        stage(root, root / "weights", "cpu", root / "context")


def test_stage_replaces_an_old_context_and_normalises_modes(place: tuple[Path, Manifest]) -> None:
    root, _ = place
    context = root / "context"
    (context / "code").mkdir(parents=True)
    (context / "code/old").touch()
    (root / "weights/voices/a.bin").chmod(0o600)
    stage(root, root / "weights", "cpu", context)
    assert not (context / "code/old").exists()
    modes = {path.stat().st_mode & 0o777 for path in context.rglob("*") if path.is_file()}
    assert modes == {0o644}
    assert (root / "weights/voices/a.bin").stat().st_mode & 0o777 == 0o600


def test_context_has_only_the_code_and_locks_that_the_image_needs(
    place: tuple[Path, Manifest],
) -> None:
    root, lock = place
    context = root / "context"
    inside = stage(root, root / "weights", "cpu", context)
    code = {path.relative_to(context / "code").as_posix() for path in (context / "code").rglob("*")}
    assert {"appliance/weights/seal.py", "client/call.py"} <= code
    assert not {path for path in code if path.startswith("client/questions")}
    assert not {path for path in code if path.startswith("ops") or "__pycache__" in path}
    assert {path.name for path in (context / "requirements").iterdir()} == {
        "cpu.txt",
        "cpu-more.txt",
    }
    assert manifest.read(context / "code/image-manifest.lock") == inside
    assert inside.weights == lock.weights
    assert inside.extra["wheels"]["cpu.txt"] == seal.sha256_of(root / "requirements/cpu.txt")


def test_entry_points_are_found_as_those_of_an_installed_package(
    place: tuple[Path, Manifest],
) -> None:
    root, _ = place
    stage(root, root / "weights", "cpu", root / "context")
    (dist_info,) = (root / "context/code").glob("*.dist-info")
    installed = Distribution.at(dist_info)
    assert installed.metadata["Name"] == "voice-appliance"
    (plugin,) = installed.entry_points.select(group="vllm.general_plugins")
    assert plugin.value == "appliance.engines.llm.vllm.plugin:register"


def test_size_of_a_layer_is_the_sum_of_its_files() -> None:
    assert total_bytes([weight("a", 3), weight("b", 4)]) == 7


@pytest.fixture
def chooseable(tmp_path: Path) -> Path:
    """A repository whose lock has two language models, both fetched."""
    registry, lock = make_registry(tmp_path / "registry")
    return make_repository(tmp_path / "repository", with_choice(registry, lock), registry)


def environment_of(dockerfile: Path) -> str:
    (line,) = re.findall(r"^ARG MODEL=(.*)$", dockerfile.read_text(), re.MULTILINE)
    return str(line)


@pytest.mark.parametrize(("model", "other"), [("big", "small"), ("small", "big")])
def test_image_has_the_chosen_model_only_and_its_name(
    chooseable: Path, model: str, other: str
) -> None:
    context = chooseable / "context"
    inside = stage(chooseable, chooseable / "weights", "cpu", context, model)
    assert inside.sources[model].purpose == "run"
    assert other not in inside.sources and f"{other}-1==1.0" not in inside.packages
    staged = {
        folder
        for value in layer_contents(context).values()
        for folder in filter(None, value.split(", "))
    }
    assert staged == {model, "voices"}
    assert environment_of(context / "Dockerfile") == model
    assert manifest.read(context / "code/image-manifest.lock") == inside


def test_unknown_model_of_an_image_is_refused_with_the_known_ones(chooseable: Path) -> None:
    with pytest.raises(BadSetting, match=r"VOICE_LLM_MODEL.*'huge'; the models are big, small"):
        stage(chooseable, chooseable / "weights", "cpu", chooseable / "context", "huge")
    with pytest.raises(BadSetting, match=r"VOICE_LLM_MODEL.*'huge'"):
        stage(chooseable, chooseable / "weights", "gpu", chooseable / "context", "huge")


def test_chosen_model_that_was_not_fetched_is_named(chooseable: Path) -> None:
    shutil.rmtree(chooseable / "weights/small")
    with pytest.raises(SealBroken, match=r"small/model\.gguf is missing"):
        stage(chooseable, chooseable / "weights", "cpu", chooseable / "context", "small")


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_image_of_the_default_names_the_default_of_the_profile(
    place: tuple[Path, Manifest], profile: str
) -> None:
    root, _ = place
    stage(root, root / "weights", profile, root / "context")
    default = settings.load({"VOICE_PROFILE": profile}).llm.model
    assert environment_of(root / "context/Dockerfile") == default


def test_dockerfile_passes_the_name_on_as_the_setting() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "\nARG MODEL\n" in text and " VOICE_LLM_MODEL=${MODEL} " in text
