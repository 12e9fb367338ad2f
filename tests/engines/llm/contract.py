"""What the session of every speech-LLM engine refuses, beside the contract of the link."""

from __future__ import annotations

import pytest

from appliance.errors import BadRequest
from appliance.link.engine import ChatMessage, LLMSession
from tests.engines.llm.turns import reply


class LLMSessionContract:
    """Needs a fixture `session`: a session of a loaded engine."""

    @pytest.mark.parametrize(
        "conversation",
        [
            [],
            [ChatMessage("system", "Hi.")],
            [ChatMessage("assistant", "Hi.")],
            [ChatMessage("user", utterance=99)],
        ],
    )
    async def test_conversation_that_does_not_end_with_a_question_is_refused(
        self, session: LLMSession, conversation: list[ChatMessage]
    ) -> None:
        with pytest.raises(BadRequest):
            await reply(session, conversation)

    async def test_unknown_utterance_and_half_a_sample_are_refused(
        self, session: LLMSession
    ) -> None:
        with pytest.raises(BadRequest):
            session.add_audio(5, bytes(1280))
        session.begin(5)
        with pytest.raises(BadRequest):
            session.add_audio(5, bytes(3))
        session.forget(5)
        with pytest.raises(BadRequest):
            await session.transcribe(5)
