"""Measures trained networks: losses, accuracies, and the terms of the gap."""
