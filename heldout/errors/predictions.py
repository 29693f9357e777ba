"""Why images were not answered: each says what was received, what the model takes, and what to do."""

from heldout.errors.base import FieldError, HeldoutError


class ImageRefused(HeldoutError):
    """An image of a request is no image, a broken one, or takes too much memory; `errors` has its place among them."""

    code, status, title = "unreadable_image", 422, "An image cannot be read"

    def __init__(self, index: int, name: str | None, detail: str) -> None:
        """index: the image's place in the request, from 0; name: its file's name, where it has one."""
        where = f"Image {index + 1:,}" + (f" ({name[:100]!r})" if name else "")
        super().__init__(f"{where}: {detail}", errors=[FieldError(f"/images/{index}", detail)])


class WrongSize(ImageRefused):
    """It has another size than the dataset's images, which were not resized when they were uploaded."""

    code, title = "wrong_size", "An image has another size"


class WrongChannels(ImageRefused):
    """It has colors and the model takes grey images, or another number of channels."""

    code, title = "wrong_channels", "An image has other channels"


class WrongDtype(ImageRefused):
    """Its values are of another type than the dataset's pixels."""

    code, title = "wrong_dtype", "An image has values of another type"


class WrongRange(ImageRefused):
    """A pixel is no finite number, or outside of the dataset's range."""

    code, title = "wrong_range", "An image has values that the dataset cannot have"


class TooManyImages(HeldoutError):
    """A request has more images than the model answers at once."""

    code, status, title = "too_many_images", 422, "Too many images"

    def __init__(self, received: int, allowed: int) -> None:
        count = f"{received:,}" if received < 10**12 else "far too many"
        super().__init__(
            f"Received {count} images; this model answers at most {allowed:,} at once. Send them in several requests."
        )


class NoImages(HeldoutError):
    """A request to predict has no image."""

    code, status, title = "no_images", 422, "There is no image"

    def __init__(self) -> None:
        super().__init__(
            "Received no image. Send the bytes of a PNG, JPEG, WebP or BMP or of an .npy as the body, or several such "
            "files as fields `images` of a form (`curl -F images=@a.png -F images=@b.png`)."
        )


class NoTemperature(HeldoutError):
    """`calibrated` was asked for, and the job has no temperature from its validation images."""

    code, status, title = "no_temperature", 409, "The job has no temperature"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"No temperature was fitted for job {job_id}: that takes 50 validation images and a training that has "
            "succeeded. Ask without `calibrated`."
        )


class InvalidTensor(HeldoutError):
    """Of `/v2`, which answers `{"error": …}`: the request's tensors are not what the model takes."""

    code, status, title = "invalid_tensor", 400, "A tensor is refused"


class PredictionsUnavailable(HeldoutError):
    """No process for predictions answers, or it has as much to do as its memory allows; `Retry-After`."""

    code, status, title = "predictions_unavailable", 503, "No predictions at the moment"

    def __init__(self, why: str) -> None:
        super().__init__(f"{why} Repeat the request shortly.", headers={"Retry-After": "1"})
