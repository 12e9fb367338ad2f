"""The OpenAI Realtime protocol at /v1/realtime: a second protocol over the same pipeline.

    client_events  decodes the events of a client
    server_events  builds the events of the gateway
    config         the session object: what a client may set, and what holds
    tools          the tools of the client: what they may be
    questions      what was said or typed, and not answered yet
    function_calls the calls of the client's tools, and which of them the reply waits for
    items          the items of the conversation, and the list of them
    state          the conversation as the client sees it: items, responses, the audio buffer
    resampler      24 kHz to 16 kHz
    serializer     plugs these into Pipecat's transport

docs/client-protocol.md lists what is supported; ADR 24 has the reasons.
"""
