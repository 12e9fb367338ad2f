"""Sealed model files: the lock, the seal and the judgement of a model folder."""
