"""Persistence: the tables, every SQL statement, and the blob store."""
