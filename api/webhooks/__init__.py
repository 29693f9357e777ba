"""Sends events to the owners' webhooks."""
