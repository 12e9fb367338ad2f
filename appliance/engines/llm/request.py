"""A reply under way, whichever model gives it: what is measured of it, and how it ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from appliance.engines.llm.metrics import EngineMeters
from appliance.errors import ApplianceError, EngineFailed
from appliance.link.engine import Piece, Result


@dataclass(slots=True)
class Request:
    """Begins when it is made. `stats` go to the gateway with the Result; times are seconds."""

    engine: str
    meters: EngineMeters
    began: float = field(default_factory=time.monotonic)
    stats: dict[str, float] = field(default_factory=dict)

    def heard(self, spoken: bool) -> None:
        """All that was said is known; `spoken`: for that the engine had to hear something."""
        self.stats["hearing_seconds"] = self._elapsed()
        if spoken:
            self.meters.hearing_seconds.observe(self.stats["hearing_seconds"])

    def first_token(self) -> None:
        """The model has read the prompt."""
        self.stats["first_token_seconds"] = self._elapsed()
        self.stats["prompt_seconds"] = self._elapsed() - self.stats["hearing_seconds"]
        self.meters.first_token_seconds.observe(self.stats["first_token_seconds"])

    async def counted(self, answer: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
        """Passes the answer on and counts how it ended.

        Raises the answer's own ApplianceError, and EngineFailed for whatever else it raises.
        """
        outcome = "cancelled"
        try:
            with self.meters.running.track_inprogress():
                async with contextlib.aclosing(answer):
                    async for piece in answer:
                        if isinstance(piece, Result):
                            outcome = piece.reason
                        yield piece
        except ApplianceError:
            outcome = "failed"
            raise
        except Exception as problem:
            outcome = "failed"
            raise EngineFailed(engine=self.engine) from problem
        finally:
            self.meters.requests.labels(outcome).inc()
            self.meters.decode_tokens.inc(self.stats.get("decode_tokens", 0))

    def _elapsed(self) -> float:
        return time.monotonic() - self.began
