"""The `image` entry of the lock, from the output of `buildah inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.weights import manifest
from appliance.weights.manifest import Manifest
from ops.bundle.context import LAYERS
from ops.bundle.image import UPPER_LAYERS, image_entry, record

ROOT = Path(__file__).parents[3]
FOLDERS = {f"weights-{number:02}": "model" if number == 0 else "" for number in range(LAYERS)}
COUNT = LAYERS + len(UPPER_LAYERS)


def inspected(layers: int = COUNT) -> dict[str, Any]:
    """Output of `buildah inspect --type image`, reduced to the keys that are read."""
    return {
        "FromImageID": "ab" * 32,
        "FromImageDigest": "sha256:" + "cd" * 32,
        "Manifest": json.dumps({"layers": [{"size": 10 + number} for number in range(layers)]}),
        "OCIv1": {
            "config": {
                "Labels": {"voice.profile": "cpu", "org.opencontainers.image.version": "1.2"}
            },
            "rootfs": {"diff_ids": [f"sha256:{number}" for number in range(layers)]},
        },
    }


def test_entry_has_ids_sizes_and_the_content_of_each_layer() -> None:
    entry = image_entry(inspected(), FOLDERS, "debian=ff")
    assert entry["id"] == "sha256:" + "ab" * 32
    assert entry["manifest_digest"] == "sha256:" + "cd" * 32
    assert (entry["profile"], entry["version"]) == ("cpu", "1.2")
    assert entry["base"] == {"name": "debian", "sha256": "ff"}
    assert entry["layers"][0] == {
        "diff_id": "sha256:0",
        "size_bytes": 10,
        "holds": "weights: model",
    }
    assert entry["layers"][1]["holds"] == "weights: none"
    assert entry["layers"][-1]["holds"] == "our code"
    assert entry["size_bytes"] == sum(10 + number for number in range(COUNT))


def test_image_with_another_number_of_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        image_entry(inspected(COUNT + 1), FOLDERS, "debian")


def test_names_of_upper_layers_are_in_the_order_of_the_dockerfile() -> None:
    last = (ROOT / "Dockerfile").read_text().rpartition("FROM scratch")[2].splitlines()
    marks = ("--from=os ", "/split/cuda", "/split/torch", "/split/rest", "--from=code")
    copied = [line for line in last if line.startswith("COPY --from")]
    assert len(copied) == len(UPPER_LAYERS)
    assert all(mark in line for mark, line in zip(marks, copied, strict=True))


def test_recorded_lock_is_the_one_inside_plus_the_entry(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
    inside = Manifest({}, {}, (), {"wheels": {"cpu.txt": "00"}})
    (tmp_path / "code/image-manifest.lock").write_text(manifest.render(inside))
    image_id = record(tmp_path, inspected(), "debian=ff", tmp_path / "lock")
    written = manifest.read(tmp_path / "lock")
    assert image_id == "sha256:" + "ab" * 32
    assert written.extra["wheels"] == {"cpu.txt": "00"}
    assert written.extra["image"] == image_entry(
        inspected(), dict.fromkeys(FOLDERS, ""), "debian=ff"
    )
