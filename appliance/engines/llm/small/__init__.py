"""The engine of the `cpu` profile: Moonshine transcribes, and a GGUF model answers."""
