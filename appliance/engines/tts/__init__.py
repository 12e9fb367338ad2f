"""The TTS engine process: Kokoro-82M, with its text rules and phonemes."""
