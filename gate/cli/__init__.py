"""The commands; each imports only what it needs, so that small ones start at once."""
