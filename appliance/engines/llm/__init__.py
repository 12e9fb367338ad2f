"""The `llm` process: engines that generate a text reply to a spoken utterance."""

NAME = "llm"  # name of the process in errors, metrics and the link
