"""A relay between a client and a service, whose connections a test can cut."""

import socket
import threading
from contextlib import suppress


class Relay:
    """Passes connections on to a service until it is closed."""

    def __init__(self, url):
        self.received = b""  # what the service has sent
        self._to = url.rpartition(":")[2]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self):
        """Break all connections; new ones are passed on."""
        broken, self._sockets = self._sockets, []
        self.received = b""
        for each in broken:
            with suppress(OSError):  # anyone who was connected may have gone
                each.shutdown(socket.SHUT_RDWR)
            each.close()

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
            threading.Thread(target=self._pass_on, args=(inner, outer), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(outer, inner), kwargs={"note": True}, daemon=True).start()

    def _pass_on(self, one, other, *, note=False):
        try:
            while data := one.recv(65536):
                if note:
                    self.received += data
                other.sendall(data)
        except OSError:
            pass
