"""What an operator looks at and types: the part of `ops/voicectl` that runs inside the image."""
