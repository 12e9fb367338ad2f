"""The simulated microphone, with a virtual clock."""

import asyncio
from collections.abc import Sequence

import pytest

from client.pacing import SILENCE, PacedSource
from client.playback import first_audible, last_audible
from tests.fakes import tone


class VirtualClock:
    """Time that passes only in sleep()."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self._sleep = asyncio.sleep
        monkeypatch.setattr("client.pacing.asyncio.sleep", self.sleep)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await self._sleep(0)


async def run_until_sent(
    source: PacedSource, clock: VirtualClock, count: int, sent: Sequence[object]
) -> None:
    task = asyncio.create_task(source.run())
    while len(sent) < count:
        await clock._sleep(0)
    task.cancel()


async def test_frame_of_40_ms_is_sent_every_40_ms(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, sent = VirtualClock(monkeypatch), []

    async def send(pcm: bytes) -> None:
        sent.append((clock.now, pcm))

    await run_until_sent(PacedSource(send, clock), clock, 10, sent)
    assert [sent_at for sent_at, _ in sent[:10]] == pytest.approx(
        [100.04 + 0.04 * n for n in range(10)]
    )
    assert {pcm for _, pcm in sent} == {SILENCE}


async def test_speech_times_match_its_samples_in_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, sent = VirtualClock(monkeypatch), []

    async def send(pcm: bytes) -> None:
        sent.append(pcm)

    source = PacedSource(send, clock)
    await run_until_sent(source, clock, 3, sent)
    before = len(sent)
    begins, ends = source.play(bytes(3_200) + tone(0.31, 16_000) + bytes(3_200))
    await run_until_sent(source, clock, before + 20, sent)
    stream = b"".join(sent)
    first, last = first_audible(stream), last_audible(stream)
    assert first is not None
    assert last is not None
    assert begins == pytest.approx(100.0 + first / 16_000, abs=1e-4)
    assert ends == pytest.approx(100.0 + (last + 1) / 16_000, abs=1e-4)


async def test_speech_times_of_a_silent_file_are_its_start_and_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = PacedSource(lambda _pcm: asyncio.sleep(0), VirtualClock(monkeypatch))
    assert source.play(bytes(32_000)) == pytest.approx((100.0, 101.0))
    assert source.play(b"") == pytest.approx((101.0, 101.0))


async def test_source_does_not_flood_the_server_after_a_long_stall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, sent = VirtualClock(monkeypatch), []

    async def send(pcm: bytes) -> None:
        sent.append(clock.now)
        if len(sent) == 5:
            clock.now += 60

    await run_until_sent(PacedSource(send, clock), clock, 50, sent)
    after_stall = [sent_at for sent_at in sent if sent_at == sent[5]]
    assert len(after_stall) <= 26
