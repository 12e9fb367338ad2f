"""The production engine of the `gpu` profile: Ultravox under vLLM."""
