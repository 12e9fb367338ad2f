"""The gateway process: admission, the client protocol, and one Pipecat pipeline per session."""
