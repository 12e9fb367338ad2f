"""Options of ops/smoke-test that accept any speed, so that tests do not depend on the machine."""

from __future__ import annotations

ANY_SPEED = tuple(
    f"--limit={name}=600"
    for name in ("voice_to_voice_p50", "voice_to_voice_p95", "interruption_p95", "recovery")
)
