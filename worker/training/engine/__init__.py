"""Gradient steps: the engine, its optimizer and towers, checkpoints, and the decisions between epochs."""
