"""Downloads a bundled dataset through Keras' own loader: `python -m worker.training.data.download NAME`."""

import sys

from heldout.service.start import read_settings_or_exit
from models import bundled, logs
from models.blobs import Blobs
from models.database import Database


def main(name: str) -> None:
    """Load `name` with Keras, which downloads and verifies it, and store it for all owners."""
    settings = read_settings_or_exit()
    logs.configure(settings.log_level)
    classes = {"mnist": bundled.DIGITS, "fashion_mnist": bundled.GARMENTS, "cifar10": bundled.CIFAR10}
    if name not in classes:
        raise SystemExit(f"heldout: Keras has no loader for {name!r}; expected one of {', '.join(classes)}.")
    import keras

    (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    images = bundled.convert_from_arrays(x_train, y_train, x_test, y_test, classes[name])
    bundled.store(Database(settings.database), Blobs(settings.blobs_url), name, images)


if __name__ == "__main__":
    main(sys.argv[1])
