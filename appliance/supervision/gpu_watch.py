"""Are the graphics cards still here that were here at the start?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from appliance.gpu.nvml import Found
from appliance.settings import Settings
from appliance.supervision.policy import Symptom
from appliance.supervision.symptoms import Silence

HANGS = "the driver does not answer"


def wanted(given: Settings) -> bool:
    """Whether anything runs on a card; another card of the machine is none of our business."""
    return given.llm.engine == "vllm" or given.tts.device != "cpu"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the driver said, and when by the monotonic clock."""

    at: float
    found: Found


class CardWatch:
    """Compares what the driver says with the cards that were here first. Pure.

    expected        uuids of the cards that are to be here; empty until a card was seen
    silent_seconds  the driver may take so long to answer
    step_seconds    from one look to the next
    """

    def __init__(self, expected: Iterable[str], silent_seconds: float, step_seconds: float) -> None:
        self.expected = tuple(expected)
        self._silent_seconds = silent_seconds
        self._step_seconds = step_seconds
        self._silence = Silence()
        self._misses = 0
        self._seen_at = 0.0

    def look(self, answer: Answer | None) -> list[Symptom]:
        """What the newest answer means; the same one again means that the driver is at it still.

        One answer without a card may be a hiccup, two in a row are a loss.
        """
        if answer is None or answer.at == self._seen_at:
            self._silence.note(False, self._step_seconds)
            lost = bool(self.expected) and self._silence.lasts(self._silent_seconds)
            return [Symptom("gpu_lost", why=HANGS)] if lost else []
        self._silence.note(True, self._step_seconds)
        self._seen_at = answer.at
        here = {card.uuid for card in answer.found.cards}
        self.expected = self.expected or tuple(sorted(here))
        gone = [uuid for uuid in self.expected if uuid not in here]
        self._misses = self._misses + 1 if gone else 0
        why = answer.found.why or f"the driver no longer knows {', '.join(gone)}"
        return [Symptom("gpu_lost", why=why)] if self._misses >= 2 else []


class Asking:
    """Asks the driver again and again, in a thread that may hang in it without anybody waiting."""

    def __init__(self, look: Callable[[], Found], every_seconds: float) -> None:
        self.answer: Answer | None = None
        self._look = look
        self._every_seconds = every_seconds

    def start(self) -> None:
        """Begins; the thread ends with the process."""
        threading.Thread(target=self._ask, name="cards", daemon=True).start()

    def _ask(self) -> None:
        while True:
            found = self._look()
            self.answer = Answer(time.monotonic(), found)
            time.sleep(self._every_seconds)
