"""Check a sealed Ultravox folder by its JSON files and safetensors headers alone."""

from appliance.weights.checkpoint.folder import Checkpoint, WeightBytes, read

__all__ = ["Checkpoint", "WeightBytes", "read"]
