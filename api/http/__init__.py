"""What every route shares: keys, bodies, problems, transactions, the OpenAPI document."""
