"""The TTS engine process: text normalization, phonemes and the Kokoro-82M model.

engine        the engine behind the link: phrases in, PCM out
playback      whose audio runs out first
reader        converts a phrase to words and phonemes
letters       foreign letters
text          written text to spoken words
g2p           words to phonemes, by misaki
word_context  verb and subject of a phrase
homographs    where misaki takes the wrong word
initialisms   where misaki reads letters wrongly
audio         splits phonemes before synthesis, and shapes the samples after it
voices        the style vectors of voices and blends
synthesizer   the model: ONNX or PyTorch
onnx_graph    makes the int8 model faster
onnx_split    splits it, so that speech can be streamed
pieces        which frames are vocoded together
statistics    what the vocoder needs before a phrase is complete
metrics       the metrics of the process
say           the command that shows how a text is spoken
"""
