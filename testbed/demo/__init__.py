"""What gate promises, seen on a real API server; run as `python -m testbed.demo`."""
