"""Detects the loss of the GPU that the engines use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from appliance.gpu.nvml import CardList
from appliance.settings import Settings
from appliance.supervision.policy import Symptom
from appliance.supervision.symptoms import MissedChecks

NO_REPLY = "the driver does not answer"


def uses_gpu(settings: Settings) -> bool:
    """Whether an engine runs on a GPU. If none does, the machine's GPUs are not watched."""
    return settings.llm.engine == "vllm" or settings.tts.device != "cpu"


@dataclass(frozen=True, slots=True)
class DriverReply:
    """The GPUs that the driver listed, and the monotonic time of its reply."""

    received_at: float
    listing: CardList


class GpuWatch:
    """Compares the driver's replies with the GPU that was first at the start. Pure.

    The engines use only that one; the loss of another one that is visible does not matter.

    expected        UUID of the GPU that must be present; empty until the driver lists a GPU
    silent_seconds  time without a new reply after which the driver counts as hung
    step_seconds    interval between two calls of `check`
    """

    def __init__(self, expected: Iterable[str], silent_seconds: float, step_seconds: float) -> None:
        self.expected = tuple(expected)
        self._silent_seconds = silent_seconds
        self._step_seconds = step_seconds
        self._missed = MissedChecks()
        self._misses = 0
        self._last_reply_at = 0.0

    def check(self, reply: DriverReply | None) -> list[Symptom]:
        """Evaluate the newest reply. The same one again means that the driver has not replied yet.

        One reply that lacks a GPU may be a glitch; two in a row mean that the GPU is lost.
        """
        if reply is None or reply.received_at == self._last_reply_at:
            self._missed.record(False, self._step_seconds)
            lost = bool(self.expected) and self._missed.exceeds(self._silent_seconds)
            return [Symptom("gpu_lost", why=NO_REPLY)] if lost else []
        self._missed.record(True, self._step_seconds)
        self._last_reply_at = reply.received_at
        present = [card.uuid for card in reply.listing.cards]
        self.expected = self.expected or tuple(present[:1])
        missing = [uuid for uuid in self.expected if uuid not in present]
        self._misses = self._misses + 1 if missing else 0
        why = reply.listing.problem or f"the driver no longer lists {', '.join(missing)}"
        return [Symptom("gpu_lost", why=why)] if self._misses >= 2 else []


class DriverPoller:
    """Polls the driver in a separate thread, so that a hung driver blocks nothing else."""

    def __init__(self, list_cards: Callable[[], CardList], interval_seconds: float) -> None:
        self.reply: DriverReply | None = None
        self._list_cards = list_cards
        self._interval_seconds = interval_seconds

    def start(self) -> None:
        """Start polling in a daemon thread."""
        threading.Thread(target=self._poll, name="gpu driver", daemon=True).start()

    def _poll(self) -> None:
        while True:
            listing = self._list_cards()
            self.reply = DriverReply(time.monotonic(), listing)
            time.sleep(self._interval_seconds)
