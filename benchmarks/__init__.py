"""Measurements. Each runs side by side with its reference, in one run."""
