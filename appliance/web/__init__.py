"""The HTTP server of the gateway and the exporter, with limits for unknown clients."""
