"""Reads weights that were trained on other images, and builds their networks in Keras."""
