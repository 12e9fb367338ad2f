"""The model processes: `llm` hears and answers, `tts` speaks. Both serve `appliance.link`."""
