"""The code inside the sealed image: gateway, engines, exporter and their supervision."""
