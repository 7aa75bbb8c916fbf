"""The domain and the service around it, in memory: no I/O, no wall clock."""
