"""Sends events to the addresses that owners have named."""
