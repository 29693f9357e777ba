"""What all routes share: API keys, bodies, problems, transactions, the OpenAPI document."""
