"""Datasets as arrays: their files, related images, and the images that a job uses."""
