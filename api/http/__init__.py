"""Shared by all routes: API keys, bodies, problems, transactions, the OpenAPI document."""
