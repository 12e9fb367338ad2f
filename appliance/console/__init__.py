"""What an operator types and reads: the part of `ops/voicectl` that runs inside the image."""
