"""Writes the model of a training for other runtimes, and checks each file in its runtime."""
