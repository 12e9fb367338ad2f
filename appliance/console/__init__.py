"""The operator's console: the part of `ops/voicectl` that runs inside the image."""
