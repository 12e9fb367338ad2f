"""The production engine: Ultravox under vLLM, behind the interface of every speech engine."""
