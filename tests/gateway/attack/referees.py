"""Honest callers on an attacked gateway, and the same ones on a gateway that nobody attacks.

A referee speaks over TLS, hears the answer, and asks again until the attack is over. It notes what
was lost on either way: a question that the model did not hear whole, a turn without an answer, a
piece of the reply that is missing, doubled or out of order. A busy machine can lose something, too.
So the referees of the control, which have the same share of the machine, are the measure.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from appliance.gateway.http.refusal_log import INTERVAL_SECONDS, LOGGED_PER_INTERVAL
from appliance.link.engine import OUTPUT_SAMPLE_RATE
from client import wire
from client.wav import read_wav
from tests.fakes.witness import HEARD_ALL, QUESTIONS, voice
from tests.gateway.attack.gateways import GatewayProcess
from tests.gateway.simulated_client import SimulatedClient

NAMES = ("ward-1", "ward-2")
PROBES = ("/healthz", "/readyz", "/room")
MAX_GROWTH_BYTES = 32 << 20
FRAME_BYTES = 2 * OUTPUT_SAMPLE_RATE // 25  # of a reply; the last frame is filled with silence
_SPOKEN = b"".join(map(voice, HEARD_ALL))
REPLY_AUDIO = _SPOKEN + bytes(-len(_SPOKEN) % FRAME_BYTES)


@dataclass
class Referee:
    """One honest caller. `lost` counts what was lost, by its kind."""

    client: SimulatedClient
    turns: int = 0
    frames: int = 0
    lost: Counter[str] = field(default_factory=Counter)

    async def talk(self, until: asyncio.Event) -> None:
        """Ask questions until then. The last turn ends after it."""
        questions = itertools.cycle(QUESTIONS)
        while not (until.is_set() or self.client.closed):
            await self.take_turn(read_wav(next(questions)))

    async def take_turn(self, question: bytes) -> None:
        """Speak a question, and judge the answer."""
        heard = len(self.client.frames)
        try:
            await self.client.say(question)
            turn = await self.client.turn(self.turns + 1)
        except TimeoutError:
            self.lost["a turn"] += 1
            return
        self.turns += 1
        frames = self.client.frames[heard:]
        audio = [frame.pcm for frame in frames if isinstance(frame, wire.AudioFrame)]
        self.frames += len(audio)
        if turn["outcome"] != "answered":
            self.lost["an answer"] += 1
        elif turn["reply_text"] != " ".join(HEARD_ALL):
            self.lost["a part of a question"] += 1
        elif b"".join(audio) != REPLY_AUDIO:
            self.lost["audio of a reply"] += 1
        self.lost["a call"] = int(self.client.closed)


@dataclass
class Court:
    """An attacked gateway and a control, with two referees each."""

    attacked: GatewayProcess
    control: GatewayProcess
    began_at: float = field(default_factory=time.monotonic)

    @contextlib.asynccontextmanager
    async def in_session(self) -> AsyncIterator[None]:
        """Let the referees talk while the block attacks, and judge what they lost."""
        gateways = (self.attacked, self.control)
        parties = [
            [Referee(await gateway.call(gateway.tokens[name])) for name in NAMES]
            for gateway in gateways
        ]
        referees = list(itertools.chain(*parties))
        first = read_wav(QUESTIONS[0])  # memory that every first turn takes
        await asyncio.gather(*(each.take_turn(first) for each in referees))
        before, over = [each.memory_bytes for each in gateways], asyncio.Event()
        memory = asyncio.create_task(_most_memory(gateways, over))
        talking = [asyncio.create_task(each.talk(over)) for each in referees]
        try:
            yield
            probes = [(await self.attacked.ask("GET", path)).status for path in PROBES]
        finally:
            over.set()
            await asyncio.gather(*talking)
        grown = [most - least for most, least in zip(await memory, before, strict=True)]
        counts = [Verdict.of(party) for party in parties]
        for name, growth, count in zip(("attacked", "control"), grown, counts, strict=True):
            print(f"\n{name}: {growth / 2**20:.1f} MiB more; {count}")
        assert counts[0].turns and counts[0].frames
        assert not counts[0].lost - counts[1].lost
        assert probes == [200] * len(PROBES)
        assert grown[0] < MAX_GROWTH_BYTES
        for each in referees:
            await each.client.disconnect()
        self._judge_log()

    def _judge_log(self) -> None:
        """An attack fills no log, causes no error there, and leaves no secret."""
        lines = self.attacked.log_lines()
        refused = Counter(line["reason"] for line in lines if line["event"].startswith("refused"))
        intervals = 2 + (time.monotonic() - self.began_at) // INTERVAL_SECONDS
        assert max(refused.values(), default=0) <= (LOGGED_PER_INTERVAL + 1) * intervals
        assert [line for line in lines if line["level"] in ("error", "critical")] == []
        content = self.attacked.log.read_text()
        for headers in self.attacked.tokens.values():
            assert headers["Authorization"].split(".")[2] not in content


async def _most_memory(gateways: Sequence[GatewayProcess], until: asyncio.Event) -> list[int]:
    """Return the most memory that each gateway used until then, in bytes."""
    most = [0 for _ in gateways]
    while not until.is_set():
        most = [max(old, each.memory_bytes) for old, each in zip(most, gateways, strict=True)]
        await asyncio.sleep(0.05)
    return most


@dataclass
class Verdict:
    """What the referees of one gateway counted: turns, frames of reply audio, and losses."""

    turns: int
    frames: int
    lost: Counter[str]

    @classmethod
    def of(cls, referees: Sequence[Referee]) -> Verdict:
        lost = sum((each.lost for each in referees), Counter[str]())
        return cls(sum(each.turns for each in referees), sum(e.frames for e in referees), lost)
