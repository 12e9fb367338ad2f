"""What runs on the connected side and on the host; none of it is in the image."""
