"""A stand-in for Docker's client and engine with the containerd store: what ops/import asks of it.

    python containerd_store.py FOLDER COMMAND...

As in Docker 26 with `containerd-snapshotter`: an image is named by the hash of a manifest that the
engine writes, so its id is not the release's; a layer whose bytes do not have the hash in the
config cannot be unpacked, so the empty layers of a delta are refused; an archive of an image has
the files of the content store, and a manifest.json that names its config. Formats of `inspect` are
those that ops/ uses.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import IO, Any

CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar"


class Store:
    """Blobs by hash, and images: id and names in one JSON file."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._names = folder / "names.json"
        if not self._names.exists():
            self._names.write_text("{}")

    @property
    def names(self) -> dict[str, str]:
        """Id of each image by its name; an image without a name is its own."""
        return dict(json.loads(self._names.read_text()))

    def name(self, image: str, name: str) -> None:
        self._names.write_text(json.dumps(self.names | {name: image}))

    def remove(self, image: str) -> None:
        kept = {name: found for name, found in self.names.items() if found != image}
        self._names.write_text(json.dumps(kept))

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        (self._blobs / digest).write_bytes(content)
        return f"sha256:{digest}"

    def get(self, digest: str) -> bytes:
        return (self._blobs / digest.removeprefix("sha256:")).read_bytes()

    def find(self, word: str) -> str:
        """Return the id of an image. Raises KeyError if there is none."""
        return word if word in self.names.values() else self.names[word]

    def manifest(self, image: str) -> dict[str, Any]:
        return dict(json.loads(self.get(image)))

    def layers(self, image: str) -> list[str]:
        config = json.loads(self.get(self.manifest(image)["config"]["digest"]))
        return list(config["rootfs"]["diff_ids"])


def load(store: Store, archive: IO[bytes]) -> str:
    """Load an archive; return what `docker load` prints. Raises SystemExit for a bad layer."""
    with tarfile.open(fileobj=archive, mode="r|") as stream:
        files = {}
        links = {}
        for member in stream:
            if member.issym() or member.islnk():
                links[member.name] = member.linkname
            elif file := stream.extractfile(member):
                files[member.name] = file.read()
    (described,) = json.loads(files["manifest.json"])
    config = files[described["Config"]]
    layers = [files[links.get(name, name)] for name in described["Layers"]]
    digests = [store.put(layer) for layer in layers]
    if digests != json.loads(config)["rootfs"]["diff_ids"]:
        raise SystemExit("failed to unpack: wrong diff id calculated on extraction")
    manifest = {
        "schemaVersion": 2,
        "config": {"mediaType": CONFIG_TYPE, "digest": store.put(config), "size": len(config)},
        "layers": [
            {"mediaType": LAYER_TYPE, "digest": digest, "size": len(layer)}
            for digest, layer in zip(digests, layers, strict=True)
        ],
    }
    image = store.put(json.dumps(manifest).encode())
    store.name(image, image)
    return f"Loaded image ID: {image}"


def save(store: Store, image: str, archive: IO[bytes]) -> None:
    """Write an archive of an image."""
    manifest = store.manifest(image)
    digests = [image, manifest["config"]["digest"], *(one["digest"] for one in manifest["layers"])]

    def blob(digest: str) -> str:
        return "blobs/sha256/" + digest.removeprefix("sha256:")

    described = [
        {"Config": blob(digests[1]), "RepoTags": None, "Layers": list(map(blob, digests[2:]))}
    ]
    files = {blob(digest): store.get(digest) for digest in digests}
    files["manifest.json"] = json.dumps(described, separators=(",", ":")).encode()
    with tarfile.open(fileobj=archive, mode="w|") as stream:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            stream.addfile(member, io.BytesIO(content))


def inspect(store: Store, form: str, image: str) -> str:
    if form == "{{.Id}}":
        return image
    assert "RootFS.Layers" in form, form
    return ("\n" if "println" in form else " ").join([*store.layers(image), ""])


def run(store: Store, root: Path, words: list[str]) -> str:
    """Run one command and return its output."""
    match words:
        case ["info", "--format", "{{.DockerRootDir}}"]:
            return str(root)
        case ["info", "--format", "{{.DriverStatus}}"]:
            return "[[driver-type io.containerd.snapshotter.v1]]"
        case ["info", "--format", "{{.Driver}}"]:
            return "overlayfs"
        case ["version", *_]:
            return "26.1.5"
        case ["load", "--quiet"]:
            return load(store, sys.stdin.buffer)
        case ["save", word]:
            save(store, store.find(word), sys.stdout.buffer)
            return ""
        case ["images", *_]:
            return "\n".join(sorted(set(store.names.values())))
        case ["image", "inspect", "--format", form, word]:
            return inspect(store, form, store.find(word))
        case ["tag", word, name]:
            store.name(store.find(word), name)
            return ""
        case ["image", "rm", word]:
            store.remove(store.find(word))
            return ""
    raise SystemExit(f"unexpected: docker {' '.join(words)}")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    try:
        output = run(Store(folder), folder, sys.argv[2:])
    except KeyError as missing:
        raise SystemExit(f"No such image: {missing}") from None
    if output:
        print(output)
