"""The operator's console: the part of `ops/voicectl` that runs inside the image.

commands     options, input, output and exit codes
collect      asks every source for the facts
state        the facts, and the state that follows from them
status       `status`: the state as a screen
logs         `logs`: parses and formats log lines
trace        `trace`: calls as timelines
drain        `drain`: refuses new calls, and waits
tokens       `token`: the named access tokens
audit        `audit`: checks the audit log
bundle       `bundle`: state and log in a file, without speech
redact       what of a log line may be in it
exit_reason  why a container ended
terminal     colours, times and sizes
"""
