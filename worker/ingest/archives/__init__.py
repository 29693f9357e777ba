"""Reads members of uploaded archives within limits."""
