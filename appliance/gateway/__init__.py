"""The gateway process: admission, the client protocol, and one Pipecat pipeline per session.

Begin with `server` (the process) and `session` (one call). `http` has what comes before a call;
`wire`, `transport` and `realtime` speak the protocols of the clients. In the pipeline, `turns`
decides whose turn it is, `generation` asks the speech-LLM, and `speech` makes the answer audible.
"""
