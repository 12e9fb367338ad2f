"""The model processes: `llm` (speech to reply) and `tts` (reply to speech), behind the link."""
