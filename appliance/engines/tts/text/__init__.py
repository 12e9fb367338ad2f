"""Text normalization: converts written text to the words to be spoken."""
