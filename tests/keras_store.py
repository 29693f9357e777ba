"""A server that plays Keras' store of weights, and files like those in it, with random weights."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@contextmanager
def serve(files: Mapping[str, bytes], *, missing_bytes: int = 0) -> Iterator[str]:
    """Serve files by their paths, and yield the server's address.

    Args:
        missing_bytes: by how many each answer is shorter than it announces.
    """

    class Store(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path.removeprefix("/"))
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) + missing_bytes))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def write_weights(model: Any) -> bytes:
    """Write a network's weights as Keras' store has them: in the format of Keras 2."""
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        save_weights_to_hdf5_group(file, model)
    return content.getvalue()
