"""The production engine of the `gpu` profile: Ultravox under vLLM.

engine        the engine behind the link
session       one connection: its utterances, and the replies to them
audio         the audio clips of a session
prompt        the prompt in the format of Llama 3.1
vocabulary    its tokens: a text never becomes a special one
tools         tool calls in its format
admission     which request fits into the KV cache
runtime       vLLM itself: start, use and stop
plugin        what vLLM's own processes load
model         the Ultravox model, fixed
processor     its audio processor
reply         the text of a streamed reply: speech or a tool call
probe         whether the model still gives the same output
stats         the statistics of vLLM as metrics
triton_cache  Triton's C module, compiled in the image build
"""
