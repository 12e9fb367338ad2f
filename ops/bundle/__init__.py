"""Connected side only: collects the model files that get sealed."""
