"""Human recordings, for hearing and turn taking: `make voices`."""
