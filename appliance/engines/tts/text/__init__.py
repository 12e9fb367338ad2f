"""Text normalization: written text becomes the words that are spoken."""
