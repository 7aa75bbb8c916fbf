"""The webhook over real TLS, on reviews captured from a real API server."""
