"""Answers to labeled images as counts and sums, from any network: the figures of a gap and of scores.

The worker uses it at the end of each training, and the API for predictions from other programs.
"""
