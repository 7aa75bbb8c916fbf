"""A replay from its input to its report."""
