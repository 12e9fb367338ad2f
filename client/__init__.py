"""The client: talks with the appliance from a user's machine, over Pipecat's protobuf wire.

The commands, which `__main__` runs:

    talk           with microphone and loudspeaker
    say            WAV files, one turn each
    ask            a typed question
    devices        the microphones and loudspeakers

A call:

    call           connect, send, receive, close
    caller         the calls of a command: another one when the first is lost
    hosts          which of several hosts is called next
    backoff        delays between attempts
    liveness       whether the other side is still there
    wire           the frames of Pipecat's protobuf protocol
    turns          the events of a call, as turns
    record         one turn as the client sees it
    conversation   a call without sound devices, and its turns

Sound:

    audio          microphone and loudspeaker
    echo           echo cancellation
    playback       the playback buffer: what the user hears, and when
    pacing         a simulated microphone
    wav            WAV files

What the user sees:

    display        what `talk` shows
    report         a turn as JSON or text
    explain        errors of the server and the network, as errors that a user understands
    errors         the error catalogue, with exit codes
    stderr         messages on stderr
    native_stderr  keeps the output of sound libraries out of the display
    config         settings, from flags, the environment or a file
"""
