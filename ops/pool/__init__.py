"""A pool of hosts: the configuration of its proxy, and how many hosts callers need."""
