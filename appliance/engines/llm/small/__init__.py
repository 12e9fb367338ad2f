"""The engine of the `cpu` profile: Moonshine and Whisper transcribe, a GGUF model answers.

engine               the engine behind the link
session              one connection: its utterances, and the replies to them
worker               a thread that runs jobs by priority
priority             what a job is for, by urgency
recognition          the transcript of an utterance while the user still speaks
transcriber          runs the recognizer on it, in a thread
moonshine            the recognizer
whisper              the second recognizer, for letters and single words
whisper_features     its input: mel bands
whisper_graph        its network as ONNX graphs
beam_search          its search for the most probable texts
ctranslate2_file     the file of its weights
short_words          Moonshine and Whisper vote on single words
ordinals             sixth or six
vote                 the vote of several recognitions
parts                a question that was spoken in parts
chat                 the prompt of a conversation
tools                tool calls in the prompt
hints                notes and beginnings of replies for what the model gets wrong
stated_sums          sums that a reply states
llama_thread         the language model of all sessions, in a thread
llama                the language model, with a cached prompt per conversation
llama_library        the C interface of llama.cpp
sampling             chooses the next token
pacing               how urgent the next token is
reply_draft          the tokens and the text of a reply while it is decoded
reply                splits the text of a streamed reply: speech or a tool call
copies               whether a reply copies an earlier answer
swapped_persons      whether a reply speaks as if it were the caller
"""
