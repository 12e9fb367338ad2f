"""One turn of a session of the speech-LLM engine: an utterance, and the reply to it."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.link.engine import ChatMessage, GenerateRequest, LLMSession, Result, Tool

MESSAGE_BYTES = 1280  # 40 ms of 16 kHz int16 audio


def hear(session: LLMSession, utterance: int, pcm: bytes) -> ChatMessage:
    """Send a complete utterance in small messages, and return the message that refers to it."""
    session.begin(utterance)
    for start in range(0, len(pcm), MESSAGE_BYTES):
        session.add_audio(utterance, pcm[start : start + MESSAGE_BYTES])
    session.end(utterance)
    return ChatMessage("user", utterance=utterance)


async def reply(
    session: LLMSession,
    conversation: Sequence[ChatMessage],
    max_tokens: int = 60,
    tools: Sequence[Tool] = (),
) -> tuple[str, Result]:
    """Generate a greedy reply. Return its complete text and its result."""
    request = GenerateRequest(tuple(conversation), max_tokens, 0.0, tuple(tools))
    *pieces, result = [piece async for piece in session.generate(request)]
    assert isinstance(result, Result)
    return "".join(piece for piece in pieces if isinstance(piece, str)), result
