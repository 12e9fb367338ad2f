"""The model processes: `llm` answers speech with text, `tts` speaks. Both serve the link."""
