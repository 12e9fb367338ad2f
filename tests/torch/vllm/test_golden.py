"""Replies of the vLLM engine against the recorded references, of every case of every folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from appliance.engines.llm.vllm.engine import VllmEngine
from appliance.gpu_proof.scoring import create_vllm_engine
from tests.golden.reference import FOLDERS, Reference
from tests.torch.conftest import GOLDEN, vllm_settings
from tests.torch.vllm.conftest import compare_case

pytestmark = pytest.mark.asyncio(loop_scope="session")

Golden = tuple[VllmEngine, Reference]


@pytest_asyncio.fixture(
    loop_scope="session", scope="module", params=FOLDERS, ids=lambda folder: folder.name
)
async def golden(request: pytest.FixtureRequest, vllm_engine: VllmEngine) -> AsyncIterator[Golden]:
    """An engine with the checkpoint of a folder, and the reference recorded with it."""
    folder: Path = request.param
    if folder == GOLDEN:
        yield vllm_engine, Reference(folder)
        return
    engine = create_vllm_engine(vllm_settings(PATHS_WEIGHTS=str(folder)))
    await engine.start()
    yield engine, Reference(folder)
    await engine.stop()


async def test_replies_equal_the_reference(golden: Golden, tmp_path: Path) -> None:
    engine, reference = golden
    for number, case in enumerate(reference.cases):
        comparison = await compare_case(engine, reference, case, tmp_path / str(number))
        assert comparison.passes(), comparison
        assert comparison.compared == len(case.logprobs)


async def test_history_that_was_heard_turn_by_turn_gives_the_same_reply(
    golden: Golden, tmp_path: Path
) -> None:
    engine, reference = golden
    for number, case in enumerate(reference.cases):
        if len(case.clips) > 1:
            comparison = await compare_case(
                engine, reference, case, tmp_path / str(number), turn_by_turn=True
            )
            assert comparison.passes(), comparison
