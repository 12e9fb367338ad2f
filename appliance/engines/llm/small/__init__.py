"""The small engine of the `cpu` profile: Moonshine transcribes, llama.cpp answers."""
