"""Tests that every engine must pass over the link, whether real or fake.

A test module subclasses `SpeechContract` or `VoiceContract` and provides the fixture `engine`,
a started engine, and for `SpeechContract` also `spoken`: 16 kHz int16 PCM of a short question.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from appliance.errors import EngineFailed, UnknownVoice
from appliance.link.client import EngineClient
from appliance.link.engine import (
    ChatMessage,
    Chunk,
    GenerateRequest,
    LLMEngine,
    Result,
    TTSEngine,
)
from appliance.link.health import ask_health
from appliance.link.protocol import HealthReport
from appliance.link.server import AnyEngine, serve_link
from appliance.link.utterance import Utterance


@contextlib.asynccontextmanager
async def linked(engine: AnyEngine, path: Path) -> AsyncIterator[EngineClient]:
    """Connect a client to `engine` over a real unix socket."""

    def health() -> HealthReport:
        return HealthReport(ready=True, metrics=engine.metrics().decode())

    async with serve_link(path, health, engine):
        client = EngineClient(engine.name, path, stall_seconds=120)
        try:
            yield client
        finally:
            await client.close()


async def reply(
    client: EngineClient, *messages: ChatMessage, max_tokens: int = 24
) -> tuple[str, Result]:
    """Return the complete reply and its result."""
    text = ""
    async for piece in client.generate(GenerateRequest(messages, max_tokens, 0.0)):
        if isinstance(piece, Result):
            return text, piece
        assert isinstance(piece, str)
        text += piece
    raise AssertionError("the reply ended without a Result")


def utterance(id: int, pcm: bytes) -> Utterance:
    """Return a complete utterance."""
    utterance = Utterance(id)
    utterance.pcm += pcm
    utterance.complete = True
    return utterance


def user_message(client: EngineClient, utterance: Utterance) -> ChatMessage:
    """Add an utterance to `client` and return the user message that refers to it."""
    client.add(utterance)
    return ChatMessage("user", utterance=utterance.id)


async def _confirmed(
    client: EngineClient, pieces: AsyncGenerator[Chunk, None]
) -> AsyncGenerator[Chunk, None]:
    """Yield `pieces`, and confirm the generation after the first one."""
    yield await anext(pieces)
    await client.confirm()
    async for piece in pieces:
        yield piece


class SpeechContract:
    """Tests of a speech-LLM engine over the link.

    recomputed_tokens  prompt tokens that the engine may process again when a request is repeated
    opening            how every conversation begins; an engine that reads the first prompt of a
                       call when it starts has that prompt here, or each test would read another
    """

    recomputed_tokens = 0
    opening: tuple[ChatMessage, ...] = ()

    async def test_typed_text_gets_a_reply(self, engine: LLMEngine, tmp_path: Path) -> None:
        async with linked(engine, tmp_path / "s") as client:
            text, result = await reply(client, *self.opening, ChatMessage("user", "Say hello."))
        assert text.strip()
        assert result.reason in ("stop", "length")

    async def test_speech_gets_a_reply_and_a_transcript(
        self, engine: LLMEngine, spoken: bytes, tmp_path: Path
    ) -> None:
        async with linked(engine, tmp_path / "s") as client:
            text, _ = await reply(client, *self.opening, user_message(client, utterance(1, spoken)))
            assert text.strip()
            assert (await client.transcribe(1)).strip()

    async def test_question_in_two_parts_is_one_question(
        self, engine: LLMEngine, spoken: bytes, tmp_path: Path
    ) -> None:
        async with linked(engine, tmp_path / "s") as client:
            first = user_message(client, utterance(1, spoken))
            silent = user_message(client, utterance(2, bytes(32_000)))
            text, result = await reply(client, *self.opening, first, silent)
            assert text.strip() and result.reason in ("stop", "length")
            assert (await client.transcribe(1, 2)).strip()
            text, result = await reply(client, *self.opening, silent, silent)
            assert (text, result.reason) == ("", "nothing_heard")

    async def test_second_part_of_a_question_is_heard_after_the_first(
        self, engine: LLMEngine, spoken: bytes, tmp_path: Path
    ) -> None:
        growing = Utterance(2)
        async with linked(engine, tmp_path / "s") as client:
            first = user_message(client, utterance(1, spoken))
            messages = (*self.opening, first, user_message(client, growing))
            for start in range(0, len(spoken), 16_000):
                growing.pcm += spoken[start : start + 16_000]
                await client.prefill(messages, background=True)
            growing.complete = True
            text, _ = await reply(client, *messages)
            assert text.strip()
            once, twice = await client.transcribe(1), await client.transcribe(1, 2)
        assert once != twice

    async def test_silence_gets_no_reply(self, engine: LLMEngine, tmp_path: Path) -> None:
        async with linked(engine, tmp_path / "s") as client:
            text, result = await reply(
                client, *self.opening, user_message(client, utterance(1, bytes(32_000)))
            )
        assert (text, result.reason) == ("", "nothing_heard")

    async def test_utterance_can_be_sent_while_it_grows(
        self, engine: LLMEngine, spoken: bytes, tmp_path: Path
    ) -> None:
        growing = Utterance(1)
        async with linked(engine, tmp_path / "s") as client:
            message = user_message(client, growing)
            for start in range(0, len(spoken), 1280):
                growing.pcm += spoken[start : start + 1280]
                await client.send(1)
            await client.prefill((*self.opening, message))
            growing.complete = True
            text, _ = await reply(client, *self.opening, message)
        assert text.strip()

    async def test_growing_utterance_gets_a_reply_again_after_it_has_grown(
        self, engine: LLMEngine, spoken: bytes, tmp_path: Path
    ) -> None:
        growing = Utterance(1)
        cut = len(spoken) // 4 * 2
        growing.pcm += spoken[:cut]
        async with linked(engine, tmp_path / "s") as client:
            message = user_message(client, growing)
            request = GenerateRequest((*self.opening, message), 24, 0.0, speculative=True)
            async with contextlib.aclosing(client.generate(request)) as pieces:
                await anext(pieces)  # before the utterance has ended
            growing.pcm += spoken[cut:]
            growing.complete = True
            text, _ = await reply(client, *self.opening, message)
            await client.forget(1)
            whole, _ = await reply(
                client, *self.opening, user_message(client, utterance(2, spoken))
            )
        assert text == whole

    async def test_repeated_request_for_the_same_audio_finds_its_prompt_in_the_cache(
        self, engine: LLMEngine, spoken: bytes, tmp_path: Path
    ) -> None:
        growing = Utterance(1)
        growing.pcm += spoken
        story = ChatMessage("system", "You answer in a few words. " * 30)
        async with linked(engine, tmp_path / "s") as client:
            messages = (*(self.opening or (story,)), user_message(client, growing))
            request = GenerateRequest(messages, 24, 0.0, speculative=True)
            async with contextlib.aclosing(client.generate(request)) as pieces:
                await anext(pieces)
            growing.complete = True
            text, result = await reply(client, *messages)
            again, _ = await reply(client, *messages)
        assert text.strip()
        assert text == again
        stats = result.stats
        if "prompt_tokens" in stats:
            missing = stats["prompt_tokens"] - stats["cached_tokens"]
            assert missing <= self.recomputed_tokens

    async def test_background_prefill_changes_no_reply(
        self, engine: LLMEngine, spoken: bytes, tmp_path: Path
    ) -> None:
        growing = Utterance(1)
        async with linked(engine, tmp_path / "s") as client:
            message = user_message(client, growing)
            for start in range(0, len(spoken), 16_000):
                growing.pcm += spoken[start : start + 16_000]
                await client.prefill((*self.opening, message), background=True)
            growing.complete = True
            text, _ = await reply(client, *self.opening, message)
            whole, _ = await reply(
                client, *self.opening, user_message(client, utterance(2, spoken))
            )
        assert text == whole

    async def test_cancelled_generation_can_be_followed_by_another(
        self, engine: LLMEngine, tmp_path: Path
    ) -> None:
        async with linked(engine, tmp_path / "s") as client:
            question = ChatMessage("user", "Count from one to fifty.")
            request = GenerateRequest((*self.opening, question), 200, 0.0)
            async with contextlib.aclosing(client.generate(request)) as pieces:
                await anext(pieces)
            text, _ = await reply(client, *self.opening, ChatMessage("user", "Say hello."))
        assert text.strip()

    async def test_confirmed_generation_goes_on(self, engine: LLMEngine, tmp_path: Path) -> None:
        async with linked(engine, tmp_path / "s") as client:
            await client.confirm()  # nothing is running
            question = ChatMessage("user", "Count from one to twenty.")
            whole, _ = await reply(client, *self.opening, question)
            request = GenerateRequest((*self.opening, question), 24, 0.0, speculative=True)
            pieces = [piece async for piece in _confirmed(client, client.generate(request))]
        assert "".join(str(piece) for piece in pieces[:-1]) == whole
        assert isinstance(pieces[-1], Result)

    async def test_held_generation_stops_and_resumes(
        self, engine: LLMEngine, tmp_path: Path
    ) -> None:
        async with linked(engine, tmp_path / "s") as client:
            question = ChatMessage("user", "Count from one to twenty.")
            pieces = client.generate(GenerateRequest((*self.opening, question), 40, 0.0))
            await anext(pieces)
            await client.hold()
            while True:  # chunks that were already sent
                try:
                    await asyncio.wait_for(asyncio.shield(task := _next(pieces)), 1.0)
                except TimeoutError:
                    break
            await client.resume()
            piece = await task
            while not isinstance(piece, Result):
                piece = await anext(pieces)

    async def test_utterances_are_sent_again_after_a_lost_connection(
        self, engine: LLMEngine, spoken: bytes, tmp_path: Path
    ) -> None:
        async with linked(engine, tmp_path / "s") as client:
            message = user_message(client, utterance(7, spoken))
            first, _ = await reply(client, *self.opening, message)
            await client.close()
            second, _ = await reply(client, *self.opening, message)
        assert first == second

    async def test_health_is_reported(self, engine: LLMEngine, tmp_path: Path) -> None:
        async with linked(engine, tmp_path / "s"):
            report = await ask_health(tmp_path / "s", 5)
        assert report.ready


class VoiceContract:
    """Tests of a TTS engine over the link."""

    async def test_phrase_is_synthesized(self, engine: TTSEngine, tmp_path: Path) -> None:
        async with linked(engine, tmp_path / "s") as client:
            pcm = b"".join([part async for part in client.speak("Good morning.", "", 1.0, True)])
        assert 0.3 < len(pcm) / 48_000 < 3
        assert any(pcm)

    async def test_phrase_without_words_yields_no_audio(
        self, engine: TTSEngine, tmp_path: Path
    ) -> None:
        async with linked(engine, tmp_path / "s") as client:
            assert [part async for part in client.speak("... --- ...", "", 1.0, False)] == []

    async def test_unknown_voice_is_refused_by_name(
        self, engine: TTSEngine, tmp_path: Path
    ) -> None:
        async with linked(engine, tmp_path / "s") as client:
            with pytest.raises(UnknownVoice, match="zz_nobody"):
                await anext(client.speak("Hello.", "zz_nobody", 1.0, False))

    async def test_cancelled_synthesis_can_be_followed_by_another(
        self, engine: TTSEngine, tmp_path: Path
    ) -> None:
        long = "This is a rather long sentence, and nobody will hear the end of it. " * 6
        async with linked(engine, tmp_path / "s") as client:
            async with contextlib.aclosing(client.speak(long, "", 1.0, False)) as parts:
                await anext(parts)
            assert [part async for part in client.speak("Hello.", "", 1.0, True)]

    async def test_generate_is_refused(self, engine: TTSEngine, tmp_path: Path) -> None:
        async with linked(engine, tmp_path / "s") as client:
            with pytest.raises(EngineFailed):
                await reply(client, ChatMessage("user", "Hello?"))


def _next(pieces: AsyncIterator[Chunk]) -> asyncio.Future[Chunk]:
    return asyncio.ensure_future(anext(pieces))
