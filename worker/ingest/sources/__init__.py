"""Formats of uploads. Each reads names, labels and splits, and writes pixels on request."""
