"""Ultravox under vLLM, on the tiny checkpoint of our golden data."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from appliance.engines.llm.vllm.engine import VllmEngine
from appliance.engines.llm.vllm.session import VllmSession
from appliance.link.engine import Piece, Result, Studied, Tool, Turn
from tests.golden.reference import Reference
from tests.torch.conftest import GOLDEN

collect_ignore_glob = [] if importlib.util.find_spec("vllm") else ["test_*.py"]


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference(GOLDEN)


@pytest_asyncio.fixture(loop_scope="session")
async def session(vllm_engine: VllmEngine) -> AsyncIterator[VllmSession]:
    session = vllm_engine.open()
    yield session
    await session.close()


def hear(session: VllmSession, number: int, pcm: bytes) -> Turn:
    """A turn of the user, heard in pieces as a caller sends them."""
    session.begin(number)
    for start in range(0, len(pcm), 1280):
        session.hear(number, pcm[start : start + 1280])
    session.end(number)
    return Turn("user", utterance=number)


async def reply(
    session: VllmSession,
    conversation: Sequence[Turn],
    max_tokens: int = 16,
    tools: Sequence[Tool] = (),
) -> tuple[str, Result]:
    """The whole answer and how it ended."""
    pieces: list[Piece] = [
        piece async for piece in session.generate(conversation, max_tokens, 0.0, tools)
    ]
    result = pieces.pop()
    assert isinstance(result, Result)
    return "".join(piece for piece in pieces if isinstance(piece, str)), result


async def tokens(
    session: VllmSession, conversation: Sequence[Turn], max_tokens: int = 16
) -> list[int]:
    """The tokens of an answer under study."""
    pieces = session.generate(conversation, max_tokens, 0.0, study=1)
    return [piece.token async for piece in pieces if isinstance(piece, Studied)]
