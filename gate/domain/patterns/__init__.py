"""One module per kind of oscillation; none knows another."""
