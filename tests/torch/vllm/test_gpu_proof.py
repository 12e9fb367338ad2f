"""The GPU proof on this machine's CPU, in tiny sizes: every step runs to its end.

The driver is a fake. What only a card can run is named in the notes of its step.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.gpu_proof.conversation import QUESTIONS
from appliance.gpu_proof.hardware import QUANTITIES
from appliance.gpu_proof.parcels import PARCEL_BYTES
from appliance.gpu_proof.record import Record
from appliance.gpu_proof.record_file import read
from appliance.gpu_proof.runner import PAGE, RECORD
from appliance.gpu_proof.steps import STEPS
from tests.golden.reference import FOLDERS, Reference

ROOT = Path(__file__).parents[3]
FAKE_DRIVER = """
import sys
from tests.fakes import NVML_L4, FakeNvml
fake = FakeNvml(NVML_L4)
fake.__spec__ = __spec__
sys.modules[__name__] = fake
"""
WITHOUT_DRIVER = [step.name for step in STEPS if step.name != "driver"]


def gpu_proof(*arguments: str, driver: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHON": sys.executable}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if driver:
        environ["PYTHONPATH"] = str(driver)
    return subprocess.run(
        [str(ROOT / "ops/gpu-proof"), *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )


@dataclass(frozen=True)
class Travelled:
    """A rehearsal of the step `kokoro` with a model that came in parcels.

    calls    the parcels, one folder each
    first    the output after the first of them
    options  of a second run that goes on with the same record
    """

    calls: list[Path]
    first: str
    out: Path
    options: tuple[str, ...]


@pytest.fixture(scope="module")
def travelled(tmp_path_factory: pytest.TempPathFactory) -> Travelled:
    folder = tmp_path_factory.mktemp("proof")
    freeze = subprocess.run(
        [sys.executable, "-m", "pip", "freeze"], capture_output=True, text=True, check=True
    ).stdout
    installed = folder / "installed.txt"
    installed.write_text(freeze + "\nnvidia-ml-py==1\n")
    packed = gpu_proof("--pack", str(folder / "parcels"), f"--installed={installed}")
    assert packed.returncode == 0, packed.stdout + packed.stderr
    calls = sorted((folder / "parcels").iterdir())
    out = folder / "out"
    options = ("--rehearse", "--minutes=24", f"--out={out}", f"--scratch={folder / 'scratch'}")
    outputs = []
    for call in calls:
        arrived = ("--receive", str(call), f"--state={folder / 'state'}", "--only=kokoro")
        received = gpu_proof(*arrived, *options)
        outputs.append(received.stdout)
    assert received.returncode == 0, received.stdout + received.stderr
    return Travelled(calls, outputs[0], out, options)


@pytest.fixture(scope="module")
def record(travelled: Travelled) -> Record:
    """The record of a rehearsal of all steps that need no driver, in two runs.

    The second one goes on with what the first one has not measured.
    """
    done = gpu_proof(f"--only={','.join(WITHOUT_DRIVER)}", *travelled.options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kokoro: Kokoro on PyTorch" not in done.stdout  # it is measured only once
    assert (travelled.out / PAGE).read_text().startswith("<!doctype html>")
    return read(travelled.out / RECORD)


@pytest.mark.parametrize("name", WITHOUT_DRIVER)
def test_step_is_measured_to_its_end(record: Record, name: str) -> None:
    step = record.step(name)
    assert step is not None
    assert (step.state, step.why) == ("measured", "")
    assert step.measurements


def test_driver_is_recorded_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text(FAKE_DRIVER)
    out = tmp_path / "out"
    done = gpu_proof("--rehearse", "--only=driver", f"--out={out}", driver=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    result = read(out / RECORD)
    assert result.machine["card"] == "NVIDIA L4 (22.0 GiB)"
    (step,) = result.steps
    assert (step.state, step.why) == ("measured", "")
    assert step.data["nvml"]
    assert "plan" in step.data


def test_speech_on_the_device_is_that_of_the_cpu(record: Record) -> None:
    step = record.step("kokoro")
    assert step is not None
    values = {
        (each.name, each.conditions.get("reference")): each.median for each in step.measurements
    }
    assert values["duration / reference", "PyTorch on the CPU"] == 1.0
    assert values["lowest similarity", "PyTorch on the CPU"] > 0.97
    assert values["duration / reference", "onnxruntime, int8"] == pytest.approx(1.0, abs=0.03)
    assert values["lowest similarity", "onnxruntime, int8"] > 0.9


def test_every_recorded_case_of_ultravox_has_the_tokens_of_the_reference(record: Record) -> None:
    step = record.step("golden")
    assert step is not None
    equal = [each.median for each in step.measurements if each.name == "equal tokens"]
    assert len(equal) == sum(len(Reference(folder).cases) for folder in FOLDERS)
    assert set(equal) == {1.0}


def test_conversation_was_measured_from_voice_to_voice(record: Record) -> None:
    step = record.step("conversation")
    assert step is not None
    heard = [each for each in step.measurements if each.name == "voice to voice"]
    assert heard[0].n == len(QUESTIONS)


def test_hardware_guide_finds_its_quantities(record: Record) -> None:
    by_driver = {quantity for quantity in QUANTITIES if quantity[0] == "driver"}
    on_cuda = {("kokoro", "memory reserved by PyTorch")}
    measured = {(step.name, each.name) for step in record.steps for each in step.measurements}
    assert set(QUANTITIES) - by_driver - on_cuda <= measured
    for name in (
        "prefill arithmetic",
        "encoder arithmetic",
        "decode bytes",
        "linear layers, bytes",
    ):
        assert ("ultravox", name) in measured  # constants.py reads them


def test_what_needs_a_card_is_named(record: Record) -> None:
    notes = " ".join(note for step in record.steps for note in step.notes)
    for part in ("a stream each", "CUDA graph", "linear layers in fp8", "linear layers in int4"):
        assert part in notes


def test_model_that_travelled_in_parcels_is_measured_where_it_arrives(
    travelled: Travelled,
) -> None:
    assert len(travelled.calls) > 1  # the first has less room: the checkout travels with it
    for call in travelled.calls:
        assert sum(path.stat().st_size for path in call.iterdir()) <= PARCEL_BYTES
    assert "have not arrived yet" in travelled.first
    assert "no model of Kokoro" in travelled.first
    step = read(travelled.out / RECORD).step("kokoro")
    assert step is not None
    assert step.state == "measured"
