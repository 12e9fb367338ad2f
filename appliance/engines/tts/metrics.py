"""Metrics of the TTS engine. Every label set is initialized to zero."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from appliance.metrics import new_registry

OUTCOMES = ("spoken", "nothing_to_say", "abandoned", "failed")
RATIO_BUCKETS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 2, 4)
FIRST_AUDIO_BUCKETS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 5, 8)  # seconds


class TTSMetrics:
    """The metrics of one engine process, in a separate registry."""

    def __init__(self) -> None:
        self.registry = registry = new_registry()
        self.synthesis_seconds = Counter(
            "voice_tts_synthesis_seconds", "Time spent in the model.", registry=registry
        )
        self.audio_seconds = Counter(
            "voice_tts_audio_seconds",
            "Duration of the synthesized speech, including pauses.",
            registry=registry,
        )
        self.real_time_ratio = Histogram(
            "voice_tts_real_time_ratio",
            "Model time per second of speech, by chunk; above 1, playback is interrupted.",
            buckets=RATIO_BUCKETS,
            registry=registry,
        )
        self.first_audio_seconds = Histogram(
            "voice_tts_first_audio_seconds",
            "From a phrase's arrival to its first audio, including time in the queue.",
            ["urgent"],
            buckets=FIRST_AUDIO_BUCKETS,
            registry=registry,
        )
        self.phrases = Counter(
            "voice_tts_phrases", "Phrases by outcome.", ["outcome"], registry=registry
        )
        self.queue_length = Gauge(
            "voice_tts_queue_length", "Phrases in the queue.", registry=registry
        )
        for outcome in OUTCOMES:
            self.phrases.labels(outcome)
        for urgent in ("true", "false"):
            self.first_audio_seconds.labels(urgent)
