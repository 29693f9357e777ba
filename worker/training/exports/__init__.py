"""Writes the model of a training for other runtimes, and proves each file in its own."""
