"""What gate would have done: an audit log of the past, decided by the code of admission."""
