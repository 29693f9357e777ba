"""What stands between sockets and the app: who may connect, how slowly, and with what kind of request."""
