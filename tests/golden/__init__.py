"""The recorded reference of Ultravox, the checkpoint it was recorded with, and the comparison."""
