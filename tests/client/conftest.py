"""Fixtures of the client tests: WAV files to speak, and the real program in a process."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from client.wav import write_wav
from tests.fakes import tone

ROOT = Path(__file__).parents[2]


def loud(pcm: bytes) -> list[int]:
    """Return the samples that are not 0: a reply without the gaps of a slow machine."""
    samples = np.frombuffer(pcm, "<i2")
    found: list[int] = samples[samples != 0].tolist()
    return found


@dataclass(frozen=True)
class ProgramResult:
    """Exit code and output of a client process."""

    code: int
    out: str
    err: str


class RunClient(Protocol):
    """Callable that runs the client with arguments and environment variables."""

    async def __call__(self, *arguments: object, **environ: str) -> ProgramResult: ...


@pytest.fixture
def run_client(tmp_path: Path) -> RunClient:
    """Return a function that runs `python -m client ARGUMENTS`, isolated from local settings."""

    async def run(*arguments: object, **environ: str) -> ProgramResult:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("VOICE_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "client",
            *map(str, arguments),
            cwd=ROOT,
            env={**inherited, "HOME": str(tmp_path), **environ},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), 60)
        except TimeoutError:
            process.kill()
            raise
        assert process.returncode is not None
        return ProgramResult(process.returncode, out.decode(), err.decode())

    return run


@pytest.fixture
def questions(tmp_path: Path) -> list[Path]:
    """Write two files of 0.4 s of simulated speech within silence, at two sample rates."""
    paths = [tmp_path / "first.wav", tmp_path / "second.wav"]
    for path, rate in zip(paths, (16_000, 44_100), strict=True):
        write_wav(path, bytes(rate // 5) + tone(0.4, rate) + bytes(rate), rate)
    return paths
