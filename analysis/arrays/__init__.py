"""Datasets as arrays: their files, what belongs together, and which images a job uses."""
