"""Text rules: what is written becomes what is spoken."""
