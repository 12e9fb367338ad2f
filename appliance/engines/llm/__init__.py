"""Hearing and answering: the speech-LLM engine and the Pipecat service that asks it."""
