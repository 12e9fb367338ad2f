"""The fixtures of these tests, from the modules that are named by what they give."""

from tests.gateway.certificates import certificate
from tests.gateway.espeak import speak
from tests.gateway.running_gateway import gateway, make_gateway, turn_models

__all__ = ["certificate", "gateway", "make_gateway", "speak", "turn_models"]
