"""Ultravox under vLLM, with the tiny golden checkpoint."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from appliance.engines.llm.vllm.engine import VllmEngine
from appliance.engines.llm.vllm.session import VllmSession
from appliance.gpu_proof.scoring import ScoringEngine, ScoringSession
from appliance.link.engine import ChatMessage, GenerateRequest
from tests.golden.comparison import Comparison, compare, logprobs_needed
from tests.golden.reference import Case, Reference
from tests.link.contract import linked
from tests.torch.conftest import GOLDEN

collect_ignore_glob = [] if importlib.util.find_spec("vllm") else ["test_*.py"]

# The checkpoint replies to it with more than 1000 tokens, without a loop or a stop token.
LONG_QUESTION = ChatMessage("user", "Question 1")


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference(GOLDEN)


@pytest_asyncio.fixture(loop_scope="session")
async def session(vllm_engine: VllmEngine) -> AsyncIterator[VllmSession]:
    session = vllm_engine.open()
    yield session
    await session.close()


@pytest_asyncio.fixture(loop_scope="session")
async def scoring_session(vllm_engine: VllmEngine) -> AsyncIterator[ScoringSession]:
    """A session whose replies have a fixed length, and whose tokens are known."""
    session = ScoringEngine(vllm_engine).open()
    yield session
    await session.close()


async def reply_tokens(
    session: ScoringSession, conversation: Sequence[ChatMessage], max_tokens: int = 16
) -> list[int]:
    """The token ids of a greedy reply."""
    request = GenerateRequest(tuple(conversation), max_tokens, 0.0)
    async for _ in session.generate(request):
        pass
    return [scored.token for scored in session.scored]


async def compare_case(
    engine: VllmEngine, reference: Reference, case: Case, socket: Path, turn_by_turn: bool = False
) -> Comparison:
    """Ask a case in a new session, through the link; or first what precedes it, turn by turn."""
    scoring = ScoringEngine(engine, logprobs_needed(reference))
    conversation = reference.conversation(case)
    async with linked(scoring, socket) as client:
        for utterance in reference.utterances(case):
            client.add(utterance)
        for end, turn in enumerate(conversation[:-1], 1):
            if turn_by_turn and turn.role == "user":
                async for _ in client.generate(GenerateRequest(conversation[:end], 1, 0.0)):
                    pass
        return await compare(scoring, client, reference, case)
