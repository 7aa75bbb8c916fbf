"""What services need from the outside; adapters satisfy these, the composition root wires them."""
