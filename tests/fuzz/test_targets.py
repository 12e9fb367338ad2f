"""The properties of the targets hold for examples of every run, and ops/fuzz can find a fault."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.appliance import ROOT
from tests.fuzz.targets import TARGETS

SECONDS = 5  # of each target


@pytest.mark.parametrize("name", TARGETS)
def test_property_holds_for_the_first_inputs(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        for cut in range(len(seed) + 1):
            target.feed(seed[:cut])
        for place in range(min(len(seed), 200)):
            target.feed(seed[:place] + bytes([seed[place] ^ 0x41]) + seed[place + 1 :])


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=400))
def test_property_holds_for_random_bytes(name: str, data: bytes) -> None:
    TARGETS[name].feed(data)


@pytest.fixture(scope="module")
def atheris() -> None:
    """The fuzzer, installed as ops/fuzz does it."""
    done = run_fuzz("--install")
    if done.returncode != 0:
        reason = f"NOTHING IS FUZZED: {done.stderr}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def run_fuzz(*options: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "ops/fuzz"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def test_every_property_holds_for_inputs_that_coverage_finds(atheris: None) -> None:
    done = run_fuzz("--seconds", str(SECONDS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{name}: " in done.stdout for name in TARGETS)


def test_fault_is_found_and_its_input_is_kept(atheris: None) -> None:
    kept = ROOT / ".cache/fuzz"
    for old in kept.glob("planted-*"):
        old.unlink()
    done = run_fuzz("--seconds", "60", "planted")
    assert done.returncode == 1
    assert "planted: A PROPERTY DOES NOT HOLD" in done.stderr
    (found,) = kept.glob("planted-*")
    assert found.read_bytes().startswith(b"\x7f")
    found.unlink()
