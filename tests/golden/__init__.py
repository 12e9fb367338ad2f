"""The comparison with the recorded reference, and the checkpoint it was recorded of."""
