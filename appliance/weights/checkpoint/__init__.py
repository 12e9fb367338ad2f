"""Check a sealed Ultravox folder using only its JSON files and safetensors headers."""

from appliance.weights.checkpoint.folder import Checkpoint, WeightBytes, read

__all__ = ["Checkpoint", "WeightBytes", "read"]
