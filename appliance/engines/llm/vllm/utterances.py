"""What one caller said, as the model takes it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.vllm.audio import Clip
from appliance.engines.llm.vllm.prompt import audio_tokens
from appliance.errors import BadRequest
from appliance.link.engine import Turn
from appliance.settings import LLM


class Utterances:
    """Clips by the caller's own numbers. All raise BadRequest for a number that is unknown."""

    def __init__(self, given: LLM, engine: str) -> None:
        self._given = given
        self._engine = engine
        self._caller = secrets.token_hex(8)
        self._clips: dict[int, Clip] = {}
        self._ended: set[int] = set()

    def begin(self, utterance: int) -> None:
        """A new utterance begins."""
        given = self._given
        self._clips[utterance] = Clip(given.min_utterance_seconds, given.max_utterance_seconds)
        self._ended.discard(utterance)

    def end(self, utterance: int) -> None:
        """The utterance is complete."""
        self.clip(utterance)
        self._ended.add(utterance)

    def forget(self, utterance: int) -> None:
        """The utterance will not be referred to again; it may be unknown."""
        self._clips.pop(utterance, None)
        self._ended.discard(utterance)

    def clear(self) -> None:
        """The caller left."""
        self._clips.clear()

    def rename(self) -> None:
        """From now on every clip has another name."""
        self._caller = secrets.token_hex(8)

    def clip(self, utterance: int) -> Clip:
        """What was heard of it so far."""
        try:
            return self._clips[utterance]
        except KeyError:
            raise BadRequest(engine=self._engine, what=f"unknown utterance {utterance}") from None

    def growing(self, turn: Turn) -> bool:
        """Whether more of the turn's utterance may come."""
        return turn.utterance is not None and turn.utterance not in self._ended

    def speak(self, turn: Turn) -> bool:
        """Whether the turn says something, be it typed."""
        if turn.text.strip() or turn.utterance is None:
            return True
        return self.clip(turn.utterance).verdict() == "speech"

    def sizes(self, turns: Iterable[Turn], guarded: bool = True) -> dict[int, int]:
        """Tokens of the turns' clips by number; `guarded`, of those only that hold speech."""
        clips = {t.utterance: self.clip(t.utterance) for t in turns if t.utterance is not None}
        return {
            number: audio_tokens(len(clip.samples))
            for number, clip in clips.items()
            if not guarded or clip.verdict() == "speech"
        }

    def named(self, utterance: int) -> tuple[str, Samples]:
        """A clip under a name that it shares with none of any caller, nor with itself grown."""
        samples = self.clip(utterance).samples
        return f"{self._caller}-{utterance}-{len(samples)}", samples
