"""Typed questions in dialogues, each with what the answer must and must not hold."""
