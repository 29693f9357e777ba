"""Reads Keras models of unknown origin: everything is checked before Keras builds anything."""
