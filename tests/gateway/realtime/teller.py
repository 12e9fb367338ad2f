"""A model for tests that stop the bot and then ask something else."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.link.engine import ChatMessage
from tests.fakes.engines import Reply
from tests.gateway.fake_engines import ScriptedLLM

STORY = "This is a long story about a king. " * 12


class Teller(ScriptedLLM):
    """Tells a long story, or says "Fine." to a question that ends in "else"."""

    def __call__(self, conversation: Sequence[ChatMessage], utterances: dict[int, bytes]) -> Reply:
        return "Fine." if conversation[-1].text.endswith("else") else STORY
