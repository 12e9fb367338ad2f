"""The recorded reference of Ultravox, its checkpoint, and the comparison with an engine."""
