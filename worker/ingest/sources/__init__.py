"""Formats of uploads: each is read into names, labels and splits, and writes its pixels on request."""
