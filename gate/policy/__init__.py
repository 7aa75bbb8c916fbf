"""The policy file: its schema, how it is read, and the rows it becomes."""
