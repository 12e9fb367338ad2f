"""Takes rights away from the processes that strangers can reach: the gateway and the exporter."""
