"""Certificates: issued, kept in files, and served."""
