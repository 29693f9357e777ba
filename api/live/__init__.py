"""Clients that wait for news: long polls and server-sent events."""
