"""Compare an engine's replies over the link with the reference."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from appliance.gpu_proof.scoring import (
    MAX_LOGPROBS,
    ScoringEngine,
    create_vllm_engine,
    serve,
)
from appliance.link.client import EngineClient
from appliance.link.engine import GenerateRequest
from appliance.settings import Settings
from tests.golden.reference import Case, Reference

STALL_SECONDS = 600.0  # a started engine may compile at its first requests

# Largest difference of a log-probability, by the number format of the arithmetic. See README.md.
TOLERANCES = {"float32": 0.01, "bfloat16": 0.05}
TOLERANCE = TOLERANCES["float32"]


@dataclass(frozen=True)
class Comparison:
    """Difference between the reply to a case and the reference.

    equal       number of leading tokens equal to the reference, out of `tokens`
    difference  largest difference of a log-probability of the first token
    compared    number of log-probabilities compared
    """

    case: str
    equal: int
    tokens: int
    difference: float
    compared: int

    def passes(self, tolerance: float = TOLERANCE) -> bool:
        """Return whether all tokens are equal and log-probabilities are within `tolerance`."""
        return self.equal == self.tokens and self.difference < tolerance

    def __str__(self) -> str:
        tokens = "tokens equal" if self.equal == self.tokens else "TOKENS DIFFER"
        return (
            f"{self.case:20} {tokens} ({self.equal} of {self.tokens}), "
            f"log-probabilities within {self.difference:.4f} ({self.compared} compared)"
        )


def logprobs_needed(reference: Reference) -> int:
    """Return the number of log-probabilities per token that the comparison needs."""
    return min(MAX_LOGPROBS, max(len(case.logprobs) for case in reference.cases))


async def compare_all(reference: Reference, config: Settings) -> AsyncGenerator[Comparison, None]:
    """Start an engine, compare all cases with it one by one, and stop it. Raises ApplianceError."""
    engine = create_vllm_engine(config)
    await engine.start()
    try:
        scoring = ScoringEngine(engine, logprobs_needed(reference))
        async with serve(scoring) as path:
            client = EngineClient(engine.name, path, STALL_SECONDS)
            for case in reference.cases:
                yield await compare(scoring, client, reference, case)
            await client.close()
    finally:
        await engine.stop()


async def compare(
    engine: ScoringEngine, client: EngineClient, reference: Reference, case: Case
) -> Comparison:
    """Request one case through `client`, which is connected to `engine`. Raises EngineFailed."""
    for utterance in reference.utterances(case):
        client.add(utterance)
    max_tokens = len(case.greedy)
    request = GenerateRequest(reference.conversation(case), max_tokens, temperature=0.0)
    async for _ in client.generate(request):
        pass
    scored = engine.sessions[-1].scored
    if not scored:
        return Comparison(case.name, 0, max_tokens, math.inf, 0)
    tokens = [token.token for token in scored]
    mismatches = (at for at in range(max_tokens) if tokens[at : at + 1] != case.greedy[at : at + 1])
    logprobs = {
        token: value for token, value in scored[0].logprobs.items() if token < len(case.logprobs)
    }
    return Comparison(
        case.name,
        next(mismatches, max_tokens),
        max_tokens,
        max(abs(value - float(case.logprobs[token])) for token, value in logprobs.items()),
        len(logprobs),
    )
