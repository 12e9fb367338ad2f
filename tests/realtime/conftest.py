"""The gateway that the SDKs of OpenAI call, with instant engines."""

from __future__ import annotations

from tests.gateway.certificates import certificate
from tests.gateway.espeak import speak
from tests.gateway.running_gateway import gateway, make_gateway, turn_models

__all__ = ["certificate", "gateway", "make_gateway", "speak", "turn_models"]
