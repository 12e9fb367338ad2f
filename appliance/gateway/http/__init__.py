"""The way to a call: the listening socket, HTTP endpoints, login and tickets, admission."""
