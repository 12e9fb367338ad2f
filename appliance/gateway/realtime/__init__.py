"""The OpenAI Realtime protocol at /v1/realtime: a second protocol over the same pipeline.

    client_events   decodes the events of a client
    server_events   builds the events of the gateway
    config          the session object: what a client may set, and what is in effect
    tools           the tools of the client: what they may be
    state           the session as the client sees it, put together from the next three
    user_input      what the user says and types: the input audio buffer
    responses       what the bot says: which response is in progress, and when it ends
    conversation    the items of both, in order
    items           what an item is
    questions       what was said or typed, and not answered yet
    function_calls  the calls of the client's tools, and which of them the reply waits for
    resampler       24 kHz to 16 kHz
    serializer      plugs these into Pipecat's transport

docs/client-protocol.md lists what is supported; ADR 24 has the reasons.
"""
