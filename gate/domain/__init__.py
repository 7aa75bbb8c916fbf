"""What gate decides, in plain values: no I/O, no clock, no randomness, no environment."""
