"""Decides what a study does next, and what its trainings show. Pure: from figures to steps."""
