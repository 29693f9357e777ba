"""Histories that other programs have recorded, each format in a file of its own, from text or bytes to curves.

Nothing here opens a file: the command line and the API bring the content.
"""
