"""Finds images whose label is probably wrong, by networks that were trained without them."""
