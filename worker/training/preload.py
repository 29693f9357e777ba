"""Modules that the fork server imports before it forks. They must not run any TensorFlow operation.

A process that is forked after TensorFlow has run an op, or has only listed its devices, hangs.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

os.environ["KERAS_BACKEND"] = "tensorflow"


@contextmanager
def _without_tensorflow_greetings() -> Iterator[None]:
    """TensorFlow greets on standard error, which is the worker's log, where every line is JSON; no setting stops it."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


with _without_tensorflow_greetings():
    import keras  # noqa: F401
    import tensorflow  # noqa: F401

    import worker.training.runner  # noqa: F401

# From here on. TensorFlow writes modules into the temporary directory, imports them and removes them, but would leave
# their bytecode.
sys.dont_write_bytecode = True
