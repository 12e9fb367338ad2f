"""Sealed model files: reading the lock, verifying the seal, and checking a vLLM model folder."""
