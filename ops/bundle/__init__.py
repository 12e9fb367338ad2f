"""Connected side only, not in the image: collects the model files and lays out the image build.

Run it as `python -m ops.bundle`; ops/image runs `python -m ops.bundle.image`.
"""
