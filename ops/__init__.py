"""Scripts for the connected side and for the host; none of them are in the image."""
