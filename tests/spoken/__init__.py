"""How well written text is converted to spoken words: reference lines and a scorer."""
