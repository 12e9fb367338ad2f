"""What the customer's Prometheus and Grafana get, tried on the real ones where they are here."""
