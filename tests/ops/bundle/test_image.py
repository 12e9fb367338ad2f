"""The `image` entry of the lock, from what buildah says of an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.weights import manifest
from appliance.weights.manifest import Manifest
from ops.bundle.context import LAYERS
from ops.bundle.image import ABOVE, entry, record

ROOT = Path(__file__).parents[3]
FOLDERS = {f"weights-{number:02}": "model" if number == 0 else "" for number in range(LAYERS)}
COUNT = LAYERS + len(ABOVE)


def inspected(layers: int = COUNT) -> dict[str, Any]:
    """What `buildah inspect --type image` says, shortened to what is read."""
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


def test_it_tells_what_came_out_and_what_each_layer_holds() -> None:
    told = entry(inspected(), FOLDERS, "debian=ff")
    assert told["id"] == "sha256:" + "ab" * 32
    assert told["manifest_digest"] == "sha256:" + "cd" * 32
    assert (told["profile"], told["version"]) == ("cpu", "1.2")
    assert told["base"] == {"name": "debian", "sha256": "ff"}
    assert told["layers"][0] == {
        "diff_id": "sha256:0",
        "size_bytes": 10,
        "holds": "weights: model",
    }
    assert told["layers"][1]["holds"] == "weights: none"
    assert told["layers"][-1]["holds"] == "our code"
    assert told["size_bytes"] == sum(10 + number for number in range(COUNT))


def test_an_image_with_other_layers_than_the_dockerfile_makes_is_not_recorded() -> None:
    with pytest.raises(ValueError, match="zip"):
        entry(inspected(COUNT + 1), FOLDERS, "debian")


def test_the_names_of_the_layers_are_in_the_order_of_the_dockerfile() -> None:
    last = (ROOT / "Dockerfile").read_text().rpartition("FROM scratch")[2].splitlines()
    marks = ("--from=os ", "/split/cuda", "/split/torch", "/split/rest", "--from=code")
    copied = [line for line in last if line.startswith("COPY --from")]
    assert len(copied) == len(ABOVE)
    assert all(mark in line for mark, line in zip(marks, copied, strict=True))


def test_the_lock_is_the_one_inside_and_the_entry(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
    inside = Manifest({}, {}, (), {"wheels": {"cpu.txt": "00"}})
    (tmp_path / "code/image-manifest.lock").write_text(manifest.render(inside))
    record(tmp_path, inspected(), "debian=ff", tmp_path / "lock")
    written = manifest.read(tmp_path / "lock")
    assert written.sealed["wheels"] == {"cpu.txt": "00"}
    assert written.sealed["image"] == entry(inspected(), dict.fromkeys(FOLDERS, ""), "debian=ff")
