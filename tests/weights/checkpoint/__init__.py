"""Judging a model folder by its headers."""
