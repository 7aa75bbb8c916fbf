"""Records what AI agents change in Kubernetes and refuses their oscillations."""
