"""The engine of the `cpu` profile: Moonshine and Whisper transcribe, a GGUF model answers.

engine               the engine behind the link
session              one connection: its utterances, and the replies to them
worker               a thread that runs jobs by priority
priority             what a job is for, by urgency
recognition          speech recognition while the user still speaks
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
quotations           quotations that follow a question in the prompt, and known replies
corrected_numbers    a number that the caller has corrected
impossible_requests  requests that no tool can fulfil
corrected_facts      a fact that the caller has corrected
own_nature           questions about what the assistant is
told_names           the name that the caller has told
local_facts          questions for facts of the place, which nobody has told
spoken_sums          sums that a caller asks for
story_sums           sums that a caller tells as a story
stated_sums          sums that a reply states
unit_conversions     units that a caller wants converted
clock_sums           times of the day that a caller asks for
letters              questions about the letters of a word
llama_thread         the language model of all sessions, in a thread
llama                the language model, with a cached prompt per conversation
llama_library        the C interface of llama.cpp
sampling             chooses the next token
pacing               how urgent the next token is
reply                the text of a streamed reply: speech or a tool call
copies               whether a reply copies an earlier answer
swapped_persons      whether a reply speaks as if it were the caller
"""
