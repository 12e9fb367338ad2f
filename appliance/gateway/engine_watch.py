"""Watches whether the engines are ready, and synthesizes the hold message when they are."""

from __future__ import annotations

from appliance import journal
from appliance.errors import EngineFailed
from appliance.gateway.generation.reply import HOLD_TEXT
from appliance.link.client import EngineClient
from appliance.link.health import ask_health
from appliance.processes import ENGINES, socket_path
from appliance.settings import Settings

HEALTH_TIMEOUT_SECONDS = 2.0
log = journal.get()


class EngineWatch:
    """The state of the engines at the last check.

    waiting_for   names of the engines that are not ready, joined with "and"; "" if all are
    hold_message  HOLD_TEXT as PCM of the TTS engine; b"" until all engines were ready once
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.waiting_for = "engines"  # until the first check
        self.hold_message = b""

    async def check(self) -> None:
        """Ask the engines, and log a change."""
        missing = [name for name in ENGINES if not await self._is_ready(name)]
        if not missing and not self.hold_message:
            missing = [] if await self._prepare_hold_message() else ["tts"]
        waiting_for = " and ".join(missing)
        if waiting_for != self.waiting_for:
            log.info("readiness changed", waiting_for=waiting_for, ready=not missing)
        self.waiting_for = waiting_for

    async def _is_ready(self, engine: str) -> bool:
        try:
            path = socket_path(self._settings.paths.run, engine)
            return (await ask_health(path, HEALTH_TIMEOUT_SECONDS)).ready
        except EngineFailed:
            return False

    async def _prepare_hold_message(self) -> bool:
        """Synthesize the hold message. Return whether it succeeded."""
        client = EngineClient("tts", socket_path(self._settings.paths.run, "tts"))
        tts = self._settings.tts
        try:
            chunks = client.speak(HOLD_TEXT, tts.voice, tts.speed, urgent=True)
            self.hold_message = b"".join([chunk async for chunk in chunks])
        except EngineFailed as problem:
            log.error("voice unusable", exc_info=problem)
            return False
        finally:
            await client.close()
        return True
