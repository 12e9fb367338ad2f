"""The TTS engine process: text normalization, phonemes and the Kokoro-82M model."""
