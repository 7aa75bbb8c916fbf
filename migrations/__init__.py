"""The schema, revision by revision; each runs the plain SQL of its files."""
