"""Guards between sockets and the app: limits on connections, on slow clients, and on malformed requests."""
