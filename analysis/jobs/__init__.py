"""Decisions about a spec before a job is stored. Pure."""
