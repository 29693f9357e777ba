"""What the API answers, one file for each resource: the API returns these models, and the client parses them."""
