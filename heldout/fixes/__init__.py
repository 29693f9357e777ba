"""Fixing a dataset: what a new version may change, and which change cures what an audit or a diagnosis found."""
