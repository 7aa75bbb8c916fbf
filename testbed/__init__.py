"""A real Kubernetes control plane on loopback, for tests that need the API server's own word."""
