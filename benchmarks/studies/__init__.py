"""Simulated studies: whether intervals cover, and how often a false cure is named."""
