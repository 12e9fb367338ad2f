"""The TTS engine process: text normalization, phonemes and the Kokoro-82M model.

engine             the engine behind the link: phrases in, PCM out
phrase_queue       phrases that wait for the model
playback           whose audio runs out first
reader             converts a phrase to words and phonemes
letters            foreign letters
text               written text to spoken words
g2p                words to phonemes, by misaki
espeak             words that misaki does not know, by espeak-ng
word_context       verb and subject of a phrase
homographs         where misaki takes the wrong word
initialisms        where misaki reads letters wrongly
audio              splits phonemes before synthesis, and shapes the samples after it
voices             the style vectors of voices and blends
synthesizer        the model as ONNX graphs, and the choice of a back end
torch_synthesizer  the model in PyTorch
onnx_graph         makes the int8 model faster
onnx_split         splits it, so that speech can be streamed
pieces             which frames are vocoded together
statistics         what the vocoder needs before a phrase is complete
metrics            the metrics of the process
say                the command that shows how a text is spoken
"""
