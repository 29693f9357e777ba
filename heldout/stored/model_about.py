"""What each file with a job's model, or with its predictions, says of itself."""

from typing import ClassVar

from heldout.stored.file import StoredFile

# The model card, where a file has members with names.
CARD_FILE = "MODEL_CARD.md"


class ModelAbout(StoredFile):
    """Facts of a model that its reader needs.

    job_id: the training, or the study whose ensemble it is.
    dataset_sha256: address of the dataset's content; empty where it is not known.
    weights_sha256: of all weights as float32, little-endian, in Keras' order: the same in every format.
    classes: names, in the order of the probabilities. shape: (height, width, channels) of one image.
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
