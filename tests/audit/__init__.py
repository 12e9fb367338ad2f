"""Tests of the audit log: the chain, its check, and the folder."""
