"""Kokoro's speech, synthesized once and kept on disk: the bot's own voice, and others."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from appliance.engines.tts.g2p import G2P
from appliance.engines.tts.synthesizer import FOLDER, Synthesizer, load
from appliance.engines.tts.voices import Voices
from appliance.settings import TTSConfig
from tests.engines.tts.contract import stream

REPLIES = (
    "Paris is the capital of France, and the largest city of the country.",
    "About two million people live there, and many more live in the towns around it.",
    "The city lies on the river Seine, which flows through the middle of it to the sea.",
    "It is known for its museums, for its food, and for the tower that was built for the fair.",
    "If you have only one day, start early in the morning at the cathedral on the island.",
    "Then walk along the water to the old palace, which is a museum of paintings today.",
)
SENTENCES = (
    "Wait, I have another question.",
    "Could you please repeat the last part?",
    "No, that is not what I wanted to know.",
    "What is my name?",
    "How much does the ticket cost?",
    "Stop, please, I have to go now.",
    "My order number is nine four seven.",
    "Is it possible to pay with a card?",
    "I would like to speak with a person.",
    "Which museum is the most famous one?",
    "Thank you, that is enough.",
    "When does the next train leave?",
    "Please send it to my office instead.",
    "Can you tell me about London?",
    "I did not understand the second word.",
    "Where can I buy something to eat?",
    "Does it rain often in November?",
    "Let us begin again from the start.",
    "What time is it over there?",
    "Give me the address of the hotel.",
)


class BotVoice:
    """Synthesizes, with the voice of the appliance's settings unless another one is named."""

    def __init__(self, weights: Path, cache: Path) -> None:
        self._config = TTSConfig(streaming=False)
        self._weights = weights
        self._cache = cache / "bot"
        self._cache.mkdir(parents=True, exist_ok=True)
        self._loaded: tuple[Synthesizer, G2P, Voices] | None = None

    def say(self, text: str, voice: str = "") -> np.ndarray:
        """Return the samples of a text, 24 kHz float32."""
        voice = voice or self._config.voice
        key = hashlib.sha256(f"{voice} {text}".encode()).hexdigest()
        path = self._cache / f"{key}.npy"
        if not path.exists():
            np.save(path, self._synthesize(text, voice))
        return np.asarray(np.load(path))

    def _synthesize(self, text: str, voice: str) -> np.ndarray:
        if self._loaded is None:
            self._loaded = (
                load(self._config, self._weights),
                G2P(self._weights),
                Voices(self._weights / FOLDER / "voices"),
            )
        synthesizer, g2p, voices = self._loaded
        return stream(synthesizer, g2p.phonemes(text), voices, voice)
