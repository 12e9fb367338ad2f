"""From an empty weights folder to a verified one: Ultravox from a fake hub.

tests/torch/test_weights.py does the same with Kokoro, whose conversion needs PyTorch.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import namedtuple
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import pytest

from appliance.errors import SealBroken
from appliance.settings import load
from appliance.weights import manifest, seal
from ops.bundle import hub_config, weights
from ops.bundle.__main__ import main
from tests.golden.parts import CHECKPOINT, edit, take_apart
from tests.ops.bundle.fake_hub import TOKEN, FakeHub

NAME = "ultravox-tiny"
ADAPTER, LLAMA, LLAMA_FP8, WHISPER = "a/ultravox", "m/llama", "q/llama-fp8", "o/whisper"
HUB_TOML = f"""
name = "{NAME}"
text = "bf16"

[[repository]]
role = "adapter"
repository = "{ADAPTER}"
revision = ""
files = ["*.json", "model.safetensors"]
licence = "MIT"

[[repository]]
role = "features"
repository = "{WHISPER}"
revision = ""
files = ["preprocessor_config.json"]
licence = "MIT"

[[repository]]
role = "text"
variant = "bf16"
repository = "{LLAMA}"
revision = ""
files = ["config.json", "*.safetensors", "LICENSE"]
licence = "Llama 3.1 Community License"

[[repository]]
role = "text"
variant = "fp8"
repository = "{LLAMA_FP8}"
revision = ""
files = ["config.json", "*.safetensors", "LICENSE"]
licence = "Llama 3.1 Community License"
"""


class HubPlace:
    """A hub with the parts of the tiny Ultravox, a gated Llama, and an empty weights folder."""

    def __init__(self, tmp: Path, hub: FakeHub) -> None:
        self.tmp, self.hub = tmp, hub
        self.weights, self.lock, self.cache = tmp / "weights", tmp / "lock.json", tmp / "cache"
        self.config = tmp / "hub.toml"
        self.config.write_text(HUB_TOML, encoding="utf-8")
        self.lock.write_text(manifest.render(manifest.Manifest({}, {}, (), {})), encoding="utf-8")
        self.environ: MutableMapping[str, str] = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}
        self.downloads = take_apart(tmp / "published")
        adapter, text, features = self.downloads
        hub.add_folder(ADAPTER, adapter)
        self.llama = hub.add_folder(LLAMA, text, gated=True)
        hub.add_folder(WHISPER, features)
        _, fp8, _ = take_apart(tmp / "published-fp8", "fp8")
        hub.add_folder(LLAMA_FP8, fp8)

    def run(self, *more: str, accept: bool = True) -> int:
        places = ["--weights", str(self.weights), "--lock", str(self.lock)]
        places += ["--cache", str(self.cache), "--hub", str(self.config)]
        acceptance = ["--accept-licences"] if accept else []
        environ = dict(self.environ)
        code = main(["weights", "--profile", "gpu", *places, *acceptance, *more], environ)
        assert "HF_TOKEN" not in environ
        return code

    def verify(self) -> int:
        return seal.verify(self.weights, self.manifest, "gpu").files

    @property
    def manifest(self) -> manifest.Manifest:
        return manifest.read(self.lock)

    def pin(self, repository: str) -> str:
        return str(self.manifest.extra["hub"][repository]["revision"])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubPlace]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(weights, "_SMALL_BYTES", 100_000)
    with FakeHub() as hub:
        yield HubPlace(tmp_path, hub)


def test_empty_folder_is_filled_and_verified(place: HubPlace) -> None:
    assert place.run() == 0
    assert place.verify() == len(place.manifest.of_source(NAME)) == 10
    built, golden = (folder / "model.safetensors" for folder in (place.weights / NAME, CHECKPOINT))
    assert built.read_bytes() == golden.read_bytes()
    source = place.manifest.sources[NAME]
    assert f"{LLAMA} at {place.llama[:12]} (text)" in source.origin
    assert "Llama 3.1 Community License" in source.licence
    assert not (place.cache / "hub").exists()


def test_only_listed_files_are_downloaded(place: HubPlace) -> None:
    place.run()
    downloads = " ".join(place.hub.downloads())
    assert "tokenizer.json" in downloads
    for other in ("README.md", "ultravox_model.py"):
        assert other not in downloads


def test_lock_has_the_sha256_of_every_download(place: HubPlace) -> None:
    place.run()
    pinned = place.manifest.extra["hub"][LLAMA]["files"]
    for name in ("config.json", "LICENSE", "model.safetensors"):
        content = (place.downloads[1] / name).read_bytes()
        assert pinned[name]["sha256"] == hashlib.sha256(content).hexdigest()


def test_second_run_makes_no_request_and_changes_nothing(
    place: HubPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run()
    lock = place.lock.read_bytes()
    place.hub.requests.clear()
    place.environ = {"HF_ENDPOINT": place.hub.endpoint}
    assert place.run(accept=False) == 0
    assert place.hub.requests == []
    assert place.lock.read_bytes() == lock
    assert "up to date" in capsys.readouterr().out


def test_first_run_trusts_the_newest_commit_and_says_so(
    place: HubPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run()
    output = capsys.readouterr().out
    assert f"commit {place.llama} (NEW)" in output
    assert "which nothing has confirmed" in output


def test_later_runs_use_the_pinned_commit(
    place: HubPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run()
    before = place.lock.read_bytes()
    place.hub.add(LLAMA, {"config.json": b"{}"})
    shutil.rmtree(place.weights)
    capsys.readouterr()
    assert place.run() == 0
    assert f"commit {place.llama} (pinned)" in capsys.readouterr().out
    assert place.lock.read_bytes() == before
    place.verify()


def test_interrupted_run_continues_with_the_same_commits(place: HubPlace) -> None:
    place.hub.swapped["model.safetensors"] = b"x" * 1000
    assert place.run() != 0
    assert place.pin(LLAMA) == place.llama
    assert NAME not in place.manifest.sources
    place.hub.add(LLAMA, {"config.json": b"{}"})
    place.hub.swapped.clear()
    place.hub.requests.clear()
    assert place.run() == 0
    assert not [path for path in place.hub.downloads() if path.endswith("tokenizer.json")]
    assert place.pin(LLAMA) == place.llama
    place.verify()


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_changed_content_of_a_pinned_commit_is_refused_by_name(
    place: HubPlace, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run()
    shutil.rmtree(place.weights)
    published = place.hub.repositories[LLAMA].commits[place.llama]
    published[file] = published[file].replace(b"}", b" ", 1)
    assert place.run() != 0
    assert (
        f"{file} of the model repository {LLAMA} does not match its pin" in capsys.readouterr().err
    )
    assert not place.weights.exists()


@pytest.mark.parametrize("more", [True, False])
def test_added_or_removed_file_of_a_pinned_commit_is_refused_by_name(
    place: HubPlace, more: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run()
    shutil.rmtree(place.weights)
    published = place.hub.repositories[LLAMA].commits[place.llama]
    if more:
        published["extra.safetensors"] = b"x"
    else:
        del published["LICENSE"]
    assert place.run() != 0
    assert ("extra.safetensors" if more else "LICENSE") in capsys.readouterr().err


def test_missing_pinned_commit_is_an_error(
    place: HubPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run()
    shutil.rmtree(place.weights)
    place.hub.repositories[LLAMA].commits = {"b" * 40: {"config.json": b"{}"}}
    assert place.run() != 0
    assert f"it has no revision {place.llama}" in capsys.readouterr().err


def test_revision_in_hub_toml_is_used_by_the_first_run(
    place: HubPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    place.hub.add(LLAMA, {"config.json": b"{}"})
    named = f'repository = "{LLAMA}"\nrevision = "'
    place.config.write_text(HUB_TOML.replace(named, named + place.llama), encoding="utf-8")
    assert place.run() == 0
    assert f"{place.llama} (from hub.toml)" in capsys.readouterr().out
    assert place.pin(LLAMA) == place.llama


def test_new_revision_in_hub_toml_replaces_the_pin(place: HubPlace) -> None:
    place.run()
    edit(place.downloads[1] / "config.json", comment="newer")
    newer = place.hub.add_folder(LLAMA, place.downloads[1])
    named = f'repository = "{LLAMA}"\nrevision = "'
    place.config.write_text(HUB_TOML.replace(named, named + newer), encoding="utf-8")
    assert place.run() == 0
    assert place.pin(LLAMA) == newer
    assert f"{LLAMA} at {newer[:12]}" in place.manifest.sources[NAME].origin
    place.verify()


def test_another_llama_replaces_the_first_and_becomes_the_default(place: HubPlace) -> None:
    place.run()
    assert place.run("--text", "fp8") == 0
    place.verify()
    assert LLAMA_FP8 in place.manifest.sources[NAME].origin
    assert place.pin(LLAMA) == place.llama
    place.hub.requests.clear()
    assert place.run() == 0
    assert place.hub.requests == []


def test_unknown_llama_is_refused_with_the_choices(
    place: HubPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run("--text", "q2_k") == 78
    assert "'q2_k' is not one of bf16, fp8" in capsys.readouterr().err


def test_unusable_config_is_refused_before_large_files_are_downloaded(
    place: HubPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    gptq = {"quant_method": "gptq", "bits": 4}
    edit(place.downloads[1] / "config.json", quantization_config=gptq)
    place.hub.add_folder(LLAMA, place.downloads[1])
    assert place.run() == 78
    assert "gptq" in capsys.readouterr().err
    assert not [path for path in place.hub.downloads() if path.endswith("model.safetensors")]
    assert not place.weights.exists()


def test_damaged_file_is_rebuilt(place: HubPlace) -> None:
    place.run()
    file = place.weights / NAME / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(SealBroken):
        place.verify()
    assert place.run() == 0
    place.verify()


def test_rebuild_that_differs_from_the_lock_is_refused(
    place: HubPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run()
    shutil.rmtree(place.weights)
    tree = json.loads(place.lock.read_text(encoding="utf-8"))
    for entry in tree["weights"]:
        if entry["path"] == f"{NAME}/model.safetensors":
            entry["sha256"] = "0" * 64
    place.lock.write_text(json.dumps(tree), encoding="utf-8")
    assert place.run() == 78
    assert "the same downloads gave a different file" in capsys.readouterr().err


def test_folder_built_by_hand_is_kept(place: HubPlace, capsys: pytest.CaptureFixture[str]) -> None:
    flags = zip(("--adapter", "--text", "--features"), place.downloads, strict=True)
    arguments = [str(word) for pair in flags for word in pair]
    arguments += ["--weights", str(place.weights), "--lock", str(place.lock)]
    main(["ultravox", *arguments, "--cache", str(place.cache), "--name", NAME])
    before = place.lock.read_bytes()
    assert place.run() == 0
    assert "built by hand and is kept" in capsys.readouterr().out
    assert place.lock.read_bytes() == before and place.hub.requests == []
    assert place.run("--text", "bf16") == 0
    assert place.pin(LLAMA) == place.llama
    place.verify()


def test_gated_model_without_a_token_names_the_variable(
    place: HubPlace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    del place.environ["HF_TOKEN"]
    with Path("/dev/null").open() as no_terminal:
        monkeypatch.setattr("sys.stdin", no_terminal)
        assert place.run() == 78
    output = capsys.readouterr().err
    assert f"{LLAMA} is not accepted" in output and "HF_TOKEN" in output
    assert place.hub.downloads() == []


def test_token_is_in_no_output_and_no_file(
    place: HubPlace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = place.tmp / "home"
    monkeypatch.setenv("HOME", str(home))
    place.run()
    captured = capsys.readouterr()
    assert TOKEN not in captured.out + captured.err
    assert TOKEN in {request.token for request in place.hub.requests}
    for path in place.tmp.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    assert not home.exists()


def test_nothing_is_downloaded_before_the_licences_are_accepted(
    place: HubPlace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/null").open() as no_terminal:
        monkeypatch.setattr("sys.stdin", no_terminal)
        assert place.run(accept=False) == 78
    assert "--accept-licences" in capsys.readouterr().err
    assert place.hub.downloads() == []


def test_full_disk_is_noticed_before_anything_is_downloaded(
    place: HubPlace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9, 9, 1_000_000))
    assert place.run() == 78
    assert "1,000,000 bytes free" in capsys.readouterr().err
    assert place.hub.downloads() == []


def test_cpu_profile_makes_no_request_to_the_hub(
    place: HubPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run("--profile", "cpu", accept=False) == 0
    assert place.hub.requests == []
    assert "model files: up to date" in capsys.readouterr().out


def test_invalid_pin_is_named(place: HubPlace, capsys: pytest.CaptureFixture[str]) -> None:
    place.run()
    text = place.lock.read_text(encoding="utf-8").replace(place.llama, "main")
    place.lock.write_text(text, encoding="utf-8")
    assert place.run() == 78
    assert f"hub: {LLAMA}: 'main' is not a commit hash" in capsys.readouterr().err


def test_shipped_config_builds_the_model_that_the_gpu_profile_loads() -> None:
    settings = load({"VOICE_PROFILE": "gpu"})
    assert hub_config.read_config().name == settings.llm.model
