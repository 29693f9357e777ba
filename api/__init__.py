"""HTTP, and nothing else: requests in, domain calls, views and problems out."""
