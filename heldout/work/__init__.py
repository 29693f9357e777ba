"""Kinds of background work, and the memory that they need."""
