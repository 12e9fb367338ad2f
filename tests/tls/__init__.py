"""Tests of the certificates: what is issued, what is wrong, the command, the gateway's files."""
