"""The gateway that the SDKs of OpenAI call, with instant engines."""

from __future__ import annotations

from tests.gateway.conftest import certificate, gateway, make_gateway, speak, turn_models

__all__ = ["certificate", "gateway", "make_gateway", "speak", "turn_models"]
