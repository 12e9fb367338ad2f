"""Asks a reference's cases of an engine through the link, and says how the answers differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

from appliance.link.client import EngineClient
from appliance.link.engine import Studied
from tests.golden.reference import Case, Reference

TOLERANCE = 0.05  # of a log-probability, in float32; the note beside the reference says so
MOST_LOGPROBS = 1024  # what the link carries of one token


@dataclass(frozen=True)
class Verdict:
    """How our answer to a case differs.

    equal        how many of the answer's first tokens are the reference's, of `tokens`
    difference   largest difference of a log-probability of the first token, over `compared` tokens
    """

    case: str
    equal: int
    tokens: int
    difference: float
    compared: int

    def passes(self, tolerance: float = TOLERANCE) -> bool:
        """Whether all tokens are equal and the log-probabilities close enough."""
        return self.equal == self.tokens and self.difference < tolerance

    def __str__(self) -> str:
        tokens = "tokens equal" if self.equal == self.tokens else "TOKENS DIFFER"
        return (
            f"{self.case:20} {tokens} ({self.equal} of {self.tokens}), "
            f"log-probabilities within {self.difference:.4f} ({self.compared} compared)"
        )


async def compare(client: EngineClient, reference: Reference, case: Case) -> Verdict:
    """The verdict on one case. Raises EngineFailed."""
    wanted = len(case.greedy)
    count = min(MOST_LOGPROBS, len(case.logprobs))
    pieces = client.generate(reference.conversation(case), wanted, temperature=0.0, study=count)
    studied = [piece async for piece in pieces if isinstance(piece, Studied)]
    if not studied:
        return Verdict(case.name, 0, wanted, math.inf, 0)
    ours = [piece.token for piece in studied]
    first_miss = (at for at in range(wanted) if ours[at : at + 1] != case.greedy[at : at + 1])
    known = {
        token: value for token, value in studied[0].logprobs.items() if token < len(case.logprobs)
    }
    return Verdict(
        case.name,
        next(first_miss, wanted),
        wanted,
        max(abs(value - float(case.logprobs[token])) for token, value in known.items()),
        len(known),
    )
