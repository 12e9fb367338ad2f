"""The voice of the bot: phrases, their synthesis, and how much of them the user has heard.

phrases            cuts a reply into phrases
phrase_aggregator  the same as a part of Pipecat's pipeline
bound_words        words within which no phrase ends: 0.5 mg
unsplit_names      names of the site within which no phrase ends
tts_service        the processor that has a phrase synthesized
reply_start        holds the first audio back while the engines work for others
heard_processor    the processor that reports what the user has heard
heard              how much of the reply that is, word by word
spoken_length      how long each word is when it is spoken
"""
