"""Scopes and quotas of owners, and the events that they receive."""
