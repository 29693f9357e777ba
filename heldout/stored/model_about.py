"""The description contained in each file with a job's model or predictions."""

from typing import ClassVar

from heldout.stored.file import StoredFile

# Name of the model card in files that have named members.
CARD_FILE = "MODEL_CARD.md"
# In the `.keras` file of a training: the layers of its own network, for `keras.models.model_from_json`.
NETWORK_FILE = "network.json"


class ModelAbout(StoredFile):
    """Facts about a model that its users need.

    job_id: the training, or the study whose ensemble it is.
    dataset_sha256: address of the dataset's content; empty if unknown.
    weights_sha256: digest of all weights as float32, little-endian, in Keras' order; the same in every format.
    classes: names in the order of the probabilities. shape: (height, width, channels) of one image.
    range: lowest and highest pixel value that the model expects.
    """

    file_name: ClassVar[str] = "heldout.json"

    job_id: str
    dataset_sha256: str
    weights_sha256: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    range: tuple[float, float]
    input: str = "raw pixels, (batch, height, width, channels) float32, any batch size"
    output: str = "probabilities, (batch, classes) float32"
