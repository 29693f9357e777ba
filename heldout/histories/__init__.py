"""Readers of histories recorded by other programs, from text or bytes to curves.

Nothing here opens files: the command line and the API pass the content.
"""
