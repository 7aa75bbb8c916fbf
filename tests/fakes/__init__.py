"""Fakes of the ports, held to the same suites as the real adapters."""
