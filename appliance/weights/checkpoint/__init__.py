"""What a sealed Ultravox folder holds, judged by its JSON files and safetensors headers alone."""

from appliance.weights.checkpoint.folder import Bytes, Checkpoint, read

__all__ = ["Bytes", "Checkpoint", "read"]
