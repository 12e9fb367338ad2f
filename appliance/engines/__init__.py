"""The model processes `llm` (speech to reply) and `tts` (text to speech), behind `appliance.link`."""
