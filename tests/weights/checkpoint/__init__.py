"""The check of a model folder by its configs and headers."""
