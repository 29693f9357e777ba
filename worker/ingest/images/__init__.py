"""Encoded images to arrays of pixels."""
