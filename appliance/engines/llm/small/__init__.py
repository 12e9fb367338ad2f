"""The engine of the `cpu` profile: Moonshine and Whisper transcribe, a GGUF model answers."""
