"""The build context: which files go into which layer, and that nothing unsealed gets in."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from appliance.errors import SealBroken
from appliance.weights import manifest, seal
from appliance.weights.manifest import Manifest, Weight
from ops.bundle.context import LAYERS, chosen, contents, layout, size_bytes, stage
from ops.bundle.fetch import Wish, fetch
from tests.ops.bundle.packages_made_here import BIG, SMALL, VOICES, Registry, stock

ROOT = Path(__file__).parents[3]
GIGABYTE = 1_000_000_000


def weight(path: str, size: int, source: str = "model") -> Weight:
    return Weight(path, size, "0" * 64, source, ())


def paths(layers: list[list[Weight]]) -> list[list[str]]:
    return [[weight.path for weight in layer] for layer in layers]


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Manifest]:
    """A repository with its model files, and its lock."""
    registry, lock = stock(tmp_path / "registry")
    return repository(tmp_path / "repository", lock, registry), lock


def repository(root: Path, lock: Manifest, registry: Registry) -> Path:
    wish = Wish(everything=True)
    fetch(root / "weights", lock, root / "cache", wish, download=registry.download)
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


def test_a_large_file_has_a_layer_to_itself_and_small_ones_go_by_model() -> None:
    shards = [weight("llm/1", 5 * GIGABYTE), weight("llm/2", 4 * GIGABYTE), weight("llm/config", 9)]
    voices = [weight("tts/a", 5, "voices"), weight("tts/b", 6, "voices")]
    layers = layout([*voices, *shards])
    assert paths(layers) == [["llm/1"], ["llm/2"], ["tts/a", "tts/b"], ["llm/config"]]


def test_a_changed_small_file_leaves_all_other_layers_as_they_are() -> None:
    files = [weight(f"m{n}/x", (9 - n) * GIGABYTE, f"m{n}") for n in range(4)]
    changed = [*files[:3], replace(files[3], sha256="1" * 64)]
    assert layout(files)[:3] == layout(changed)[:3]


def test_what_exceeds_the_layers_shares_the_last_one() -> None:
    files = [weight(f"{n:02}", n + 1, f"model-{n}") for n in range(LAYERS + 5)]
    layers = layout(files)
    assert len(layers) == LAYERS
    assert sorted(path for layer in paths(layers) for path in layer) == sorted(
        weight.path for weight in files
    )
    assert [len(layer) for layer in layers[:-1]] == [1] * (LAYERS - 1)


def test_the_dockerfile_copies_every_layer_in_order() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY weights-")]
    assert copied == [f"weights-{number:02}/" for number in range(LAYERS)]


def test_every_file_is_placed_once_and_is_whole(place: tuple[Path, Manifest]) -> None:
    root, _ = place
    context = root / "context"
    stage(root, root / "weights", "cpu", context)
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for folder in context.glob("weights-*")
        for path in folder.rglob("*")
        if path.is_file()
    }
    voices = {f"voices/{name}": content for name, content in VOICES.items()}
    assert found == {"big/model.gguf": BIG, **voices}
    assert len(list(context.glob("weights-*"))) == LAYERS
    assert sorted(filter(None, contents(context).values())) == ["big", "voices"]


def test_a_fallback_comes_only_in_place_of_its_model(place: tuple[Path, Manifest]) -> None:
    root, lock = place
    everything = [weight.path for weight in lock.weights]
    without = [path for path in everything if not path.startswith("big/")]
    assert {source.purpose for source in chosen(lock, "cpu", everything, False)} == {"run"}
    for sources in (chosen(lock, "cpu", everything, True), chosen(lock, "cpu", without, False)):
        assert "fallback" in {source.purpose for source in sources}
    stage(root, root / "weights", "cpu", root / "slim", slim=True)
    small = [path for path in (root / "slim").rglob("*") if path.is_file()]
    assert SMALL in [path.read_bytes() for path in small]
    assert BIG not in [path.read_bytes() for path in small]


@pytest.mark.parametrize("what", ["changed", "missing", "cut"])
def test_what_is_not_as_sealed_stops_the_build_and_is_named(
    place: tuple[Path, Manifest], what: str
) -> None:
    root, _ = place
    victim = root / "weights/voices/a.bin"
    content = victim.read_bytes()
    victim.unlink()
    if what != "missing":
        victim.write_bytes(content[::-1] + b"x" if what == "changed" else content[:-1])
    with pytest.raises(SealBroken, match=r"voices/a\.bin"):
        stage(root, root / "weights", "cpu", root / "context")


def test_the_context_is_made_anew_and_has_one_mode_for_all(place: tuple[Path, Manifest]) -> None:
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


def test_only_what_the_image_needs_of_the_code_and_the_locks_is_there(
    place: tuple[Path, Manifest],
) -> None:
    root, lock = place
    context = root / "context"
    inside = stage(root, root / "weights", "cpu", context)
    code = {path.relative_to(context / "code").as_posix() for path in (context / "code").rglob("*")}
    assert {"appliance/weights/seal.py", "client/call.py"} <= code
    assert not {path for path in code if path.startswith("client/questions")}
    assert not {path for path in code if "bundle" in path or "__pycache__" in path}
    assert {path.name for path in (context / "requirements").iterdir()} == {
        "cpu.txt",
        "cpu-more.txt",
    }
    assert manifest.read(context / "code/image-manifest.lock") == inside
    assert inside.weights == lock.weights
    assert inside.sealed["wheels"]["cpu.txt"] == seal.sha256_of(root / "requirements/cpu.txt")


def test_our_entry_points_are_told_as_an_installation_would(place: tuple[Path, Manifest]) -> None:
    root, _ = place
    stage(root, root / "weights", "cpu", root / "context")
    (found,) = (root / "context/code").glob("*.dist-info")
    installed = Distribution.at(found)
    assert installed.metadata["Name"] == "voice-appliance"
    (plugin,) = installed.entry_points.select(group="vllm.general_plugins")
    assert plugin.value == "appliance.engines.llm.vllm.plugin:register"


def test_the_size_of_a_layer_is_the_sum_of_its_files() -> None:
    assert size_bytes([weight("a", 3), weight("b", 4)]) == 7
