"""TLS: the site's own certificate authority, what it issues, and the gateway's certificate."""
