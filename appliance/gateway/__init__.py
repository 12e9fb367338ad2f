"""The gateway process: admission, the client protocol, and one Pipecat pipeline per session.

Begin with `server` (the process) and `session` (one call).

    server             the process: listen, watch, drain, stop
    http               what comes before a call: endpoints, login and tickets, admission
    call_control       admits calls, and runs them
    calls              the open calls, with their tokens
    engine_watch       whether the engines are ready
    audit_log          who called, and what operators did
    session            one call: its pipeline and its course
    session_events     what happens in it, and who is told
    session_monitor    measures it
    session_resources  what all sessions share
    session_set        sessions that have something in common, such as a user who waits
    session_socket     its WebSocket, which tells the client why the session ends
    hang_up            the goodbye, when the bot hangs up
    websocket          limits of a WebSocket, frame by frame
    rate_limit         a token bucket
    wire               the protocol of Pipecat's clients
    realtime           the protocol of OpenAI's Realtime clients
    input_pace         the pace of a client's audio
    dc_offset          removes a constant offset from the microphone's audio
    turns              whose turn it is
    generation         the reply: asks the speech-LLM
    speech             the voice of the bot
    transport          the bot's audio at the pace of playback, and its pauses
    playback_pacer     when the next chunk of it is due
    playout            what was sent, to go on from after a pause
    reply_observer     what a client's protocol is told of the replies
    turn_record        when each stage of a turn was reached
    turn_report        turns as metrics, log lines and messages to the client
    metrics            the metrics of the process
    frames             the frames that Pipecat does not have
    direct_audio       audio passes processors without Pipecat's queues
"""
