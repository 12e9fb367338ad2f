"""Whose turn it is: when the user's turn starts and ends, and when the user interrupts the bot.

turn_taking        connects these policies to Pipecat's aggregators
voice_activity     the processor that reports where speech starts, pauses and stops
session_vad        the detector behind it: Silero, and what is not the caller's voice
echo               the bot's own voice in the microphone
echo_audio         the audio that `echo` compares
level              a speaker far away
interruption_gate  the processor that pauses the bot
interruption       decides whether a voice interrupts the bot
backchannel        a listener's words: uh huh
own_words          the bot's own words, out of a loudspeaker
turn_stop          the end of a turn as a Pipecat strategy
endpointing        decides how much silence ends a turn
turn_words         what the words say about it
turn_models        Silero and smart-turn, loaded once
silero             Silero VAD for all calls
silero_network     its network in NumPy
"""
