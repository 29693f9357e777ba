"""Answers to labeled images as counts and sums, whoever trained the network: the figures of a gap and of scores.

The worker measures with it at the end of each training, and the API where predictions come from another program.
"""
