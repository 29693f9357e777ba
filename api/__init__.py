"""HTTP and nothing else: reads requests, calls the domain, and answers with views or problems."""
