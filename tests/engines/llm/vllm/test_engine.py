"""What the production engine refuses before vLLM is even imported; the rest is tests/torch/vllm."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance.engines.llm.vllm import engine
from appliance.errors import BadCheckpoint, ModelSick, NoCard
from appliance.settings import Settings, load

GOLDEN = Path(__file__).parents[3] / "golden" / "ultravox-tiny"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """An engine that stops quietens vLLM for the rest of its process."""
    level = logging.getLogger("vllm").level
    yield
    logging.getLogger("vllm").setLevel(level)


def settings(weights: Path, model: str) -> Settings:
    return load(
        {
            "VOICE_PATHS_WEIGHTS": str(weights),
            "VOICE_LLM_ENGINE": "vllm",
            "VOICE_LLM_MODEL": model,
        }
    )


async def test_a_gpu_build_without_a_card_says_why_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "none")
    monkeypatch.setattr(engine, "wants_a_card", lambda: True)
    with pytest.raises(NoCard, match="NVIDIA_VISIBLE_DEVICES"):
        await engine.VllmEngine(settings(GOLDEN, "checkpoint")).start()


async def test_a_folder_that_is_no_model_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadCheckpoint, match="empty"):
        await engine.VllmEngine(settings(tmp_path, "empty")).start()


@pytest.mark.parametrize("sick", [True, False])
async def test_a_model_that_is_not_to_be_trusted_is_told_from_one_that_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sick: bool
) -> None:
    async def now() -> None:
        pass

    async def never() -> None:
        await asyncio.Event().wait()

    one = engine.VllmEngine(settings(tmp_path, "model"))
    one.probe = SimpleNamespace(sick=now if sick else never)  # type: ignore[assignment]
    monkeypatch.setattr(one.runtime, "died", never if sick else now)
    if sick:
        with pytest.raises(ModelSick, match="llm"):
            await one.died()
    else:
        await one.died()
