"""A relay between a client and a service, whose connections a test can cut."""

import socket
import threading
from contextlib import suppress


class Relay:
    """Forwards connections to a service until it is closed."""

    def __init__(self, url):
        self.received = b""  # sent by the service
        self._to = url.rpartition(":")[2]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self):
        """Break all connections; new connections are still forwarded."""
        broken, self._sockets = self._sockets, []
        self.received = b""
        for connection in broken:
            with suppress(OSError):  # the client may have disconnected
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            outer = socket.create_connection(("127.0.0.1", int(self._to)))
            self._sockets += [inner, outer]
            threading.Thread(target=self._forward, args=(inner, outer), daemon=True).start()
            threading.Thread(target=self._forward, args=(outer, inner), kwargs={"record": True}, daemon=True).start()

    def _forward(self, source, target, *, record=False):
        try:
            while data := source.recv(65536):
                if record:
                    self.received += data
                target.sendall(data)
        except OSError:
            pass
