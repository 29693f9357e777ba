"""Finds images whose label is probably wrong, with networks that were trained without them."""
