"""Speaking: the TTS engine and the Pipecat service that asks it."""
