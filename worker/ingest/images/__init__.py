"""Decodes image files into arrays of pixels."""
