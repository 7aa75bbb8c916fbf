"""The Kubernetes API: all of kubernetes_asyncio is here."""
