"""Speed is what the machine at hand has; it is judged by the benches, and not by tests."""

from __future__ import annotations

# Options of ops/smoke-test that let every speed pass.
ANY_SPEED = tuple(
    f"--limit={name}=600"
    for name in ("voice_to_voice_p50", "voice_to_voice_p95", "interruption_p95", "recovery")
)
