"""The reply: a session's conversation with the speech-LLM, tool calls, work that is done early."""
