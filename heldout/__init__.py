"""Heldout: says why a CNN's training results are good and its test results poor."""

__version__ = "0.1.0"
