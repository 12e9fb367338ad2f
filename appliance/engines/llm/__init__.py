"""The `llm` process: engines that hear an utterance and generate the reply to it."""

NAME = "llm"  # of the process, as errors, metrics and the link name it
