"""The reply: a session's conversation with the speech-LLM, tool calls, work that is done early.

llm_service            the processor: collects speech, starts and cancels turns
turn_runner            runs a turn, from the question to the complete reply
utterances             cuts the microphone's audio into utterances
history                the conversation as the model sees it
reply                  one reply: from the engine into the pipeline, tool calls included
speculation            the reply begun at a pause, before the turn has ended
buffered_stream        a reply or speech that is kept until somebody takes it over
prefetch               prefills and transcriptions in the background
utterance_transcriber  the words of a voice that may interrupt the bot
tools                  the tools of the appliance
client_tools           the tools of a client, which it runs itself
tool_executor          runs a call of either
tool_result            what the model and the metrics see of it
turn_callbacks         what the session is told
llm_adapter            what Pipecat needs to know of the speech-LLM
"""
