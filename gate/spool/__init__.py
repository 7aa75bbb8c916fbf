"""What PostgreSQL could not take, on the local disk until it can."""
