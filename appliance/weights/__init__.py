"""Sealed model files: the lock, the seal, and the check of a vLLM model folder."""
