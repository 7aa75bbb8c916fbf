"""What happens, in order: services apply the domain to what ports give them."""
