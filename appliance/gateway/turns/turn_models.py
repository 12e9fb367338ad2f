"""The models of turn taking, Silero VAD and smart-turn: loaded once, shared by all sessions.

Pipecat loads both per session, which takes 25 MB and blocks the event loop for up to 450 ms for
each caller (measured). smart-turn is stateless. Silero's state is kept per session, outside of the
model.

smart-turn also runs in a thread pool that all sessions share. It takes a tenth of a second at each
pause of each caller. Each concurrent run takes one core, which the event loop needs, and 13 MiB
that onnxruntime does not give back. With one thread per caller, as in Pipecat, memory grew with
every new maximum of callers that paused at the same moment (measured).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.vad_analyzer import VADParams

from appliance.gateway.turns.echo import EchoDetector
from appliance.gateway.turns.level import CallerLevel, StartLevel
from appliance.gateway.turns.session_vad import SessionVAD
from appliance.gateway.turns.silero import SileroModel
from appliance.gateway.turns.silero_network import SileroNetwork, load_weights
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import TurnConfig


class TurnModels:
    """Silero VAD and smart-turn, and what each session needs of them."""

    def __init__(self, config: TurnConfig) -> None:
        self._config = config
        self._silero = SileroModel(SileroNetwork(load_weights()))
        self._smart_turn = LocalSmartTurnAnalyzerV3()
        self._smart_turn._log_data = False  # Pipecat can be told to write audio to the disk
        self._smart_turn.set_sample_rate(INPUT_SAMPLE_RATE)
        self._executor = ThreadPoolExecutor(config.threads, thread_name_prefix="smart-turn")

    def vad_analyzer(self) -> SessionVAD:
        """Return a voice activity detector for one session."""
        config = self._config
        return SessionVAD(
            self._silero,
            VADParams(
                confidence=config.vad_confidence,
                start_secs=config.vad_start_seconds,
                stop_secs=config.vad_stop_seconds,
                min_volume=0.0,  # `StartLevel` takes its place
            ),
            StartLevel(config.min_speech_dbfs),
            CallerLevel() if config.ignore_far_speech else None,
            config.vad_interrupt_seconds,
        )

    def echo_detector(self) -> EchoDetector | None:
        """Return an echo detector for one session; None if the setting switches it off."""
        return EchoDetector() if self._config.ignore_echo else None

    def judge(self, pcm: bytes) -> float:
        """Return smart-turn's probability that a turn is complete.

        `pcm` is the end of the turn up to now, 16 kHz mono int16, with the silence; smart-turn
        hears the last 8 seconds.
        """
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768
        return float(self._smart_turn._predict_endpoint(samples)["probability"])

    async def completeness(self, pcm: bytes) -> float:
        """Return `judge(pcm)`, computed in the shared thread pool."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self.judge, pcm)
