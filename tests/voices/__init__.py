"""Human recordings for turn taking: `make voices`."""
