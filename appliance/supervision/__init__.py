"""Starts, watches and restarts the processes, and exposes their metrics."""
