"""Builds the networks that are trained, from a spec or from an uploaded model."""
