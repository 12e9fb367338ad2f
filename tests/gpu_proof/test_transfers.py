"""What travels to a machine that is reached only by transfers of limited size."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import pytest

from appliance.gpu_proof.__main__ import add_options
from appliance.gpu_proof.parcels import MIB
from appliance.gpu_proof.steps import STEPS
from ops.proof_parcels import (
    FIRST_PACKAGES,
    carried_files,
    checkout_bytes,
    find_wheel,
    locked_versions,
    needed_packages,
)

ROOT = Path(__file__).parents[2]


def make_wheels(folder: Path, *names: str) -> None:
    folder.mkdir()
    for name in names:
        version = locked_versions()[name]
        (folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl").write_bytes(b"wheel")


def test_packages_of_the_first_steps_come_first_and_installed_ones_stay() -> None:
    packages = needed_packages(["Pydantic", "nvidia_ml.py"], everything=True)
    assert packages[: len(FIRST_PACKAGES) - 2] == [
        name for name in FIRST_PACKAGES if name not in ("pydantic", "nvidia-ml-py")
    ]
    assert {"vllm", "pipecat-ai"} <= set(packages)


def test_pytorch_and_kernels_for_other_models_are_not_sent() -> None:
    packages = set(needed_packages([], everything=True))
    assert packages.isdisjoint({"torch", "transformers", "flashinfer-python", "tilelang"})


def test_every_package_is_sent_in_its_locked_version(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    make_wheels(wheels, "pydantic", "pydantic-core")
    assert find_wheel(wheels, "pydantic", locked_versions()["pydantic"]) is not None
    assert find_wheel(wheels, "pydantic", "0.1") is None
    files, missing = carried_files(
        ROOT / "weights", wheels, ["pydantic", "kokoro"], tmp_path / "metadata"
    )
    assert missing == [f"kokoro=={locked_versions()['kokoro']}"]
    assert files[0].path.startswith("wheels/pydantic-")
    assert files[-1].path == "weights/kokoro-82m/kokoro-v1.0.int8.onnx"


def test_vllm_finds_our_plugin_where_the_parcels_arrive(tmp_path: Path) -> None:
    files, _ = carried_files(ROOT / "weights", tmp_path, ["kokoro", "vllm"], tmp_path / "metadata")
    entry_points = [file for file in files if file.path.endswith("entry_points.txt")]
    assert "vllm.general_plugins" in entry_points[0].source.read_text()
    assert any(file.path.startswith("weights/en_core_web_sm/") for file in files)


def test_checkout_leaves_room_for_the_model_in_two_transfers() -> None:
    model = sum(
        path.stat().st_size for path in (ROOT / "weights/kokoro-82m").rglob("*") if path.is_file()
    )
    assert checkout_bytes() + model < 2 * 62 * MIB


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only=nothing"], "nothing: not among driver, kokoro"),
        (["--compare", "a.json", "b.json"], "a.json"),
        (["--minutes=soon"], "invalid float value"),
    ],
)
def test_wrong_command_line_is_refused_with_the_reason(arguments: list[str], message: str) -> None:
    done = subprocess.run(
        [ROOT / "ops/gpu-proof", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_dry_run_prints_the_bytes_of_every_transfer() -> None:
    done = subprocess.run(
        [ROOT / "ops/gpu-proof", "--pack", "unused", "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("call  1:   64,946,176 bytes  the checkout")
    assert lines[2].startswith("all     :")
    assert not Path("unused").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mib", "1"], "the checkout alone has"),
        (["--weights", "/nowhere"], "no kokoro-82m in this folder"),
        (["--installed", "/nowhere"], "no such file"),
        ([], "exists already"),
    ],
)
def test_pack_that_cannot_work_is_refused_with_the_reason(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = subprocess.run(
        [ROOT / "ops/gpu-proof", "--pack", tmp_path, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr


def test_help_names_every_step_and_every_option() -> None:
    text = subprocess.run(
        [ROOT / "ops/gpu-proof", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert " ".join(step.name for step in STEPS) in text
    parser = argparse.ArgumentParser()
    add_options(parser)
    options = {option for action in parser._actions for option in action.option_strings}
    missing = {option for option in options - {"-h", "--help"} if option not in text}
    assert missing == set()
