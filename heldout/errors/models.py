"""Why a model is not available in a format, and why it did not answer images."""

from heldout.access.rights import get_model_route
from heldout.errors.base import FieldError, HeldoutError


class EnsembleNotReady(HeldoutError, code="not_ready", status=409, title="Not available yet"):
    """The study is running, and its winner has not been measured as an ensemble yet."""

    def __init__(self, study_id: str) -> None:
        super().__init__(
            f"Study {study_id} is running and has no ensemble yet. It gets one once a remedy has won and was measured "
            "on test."
        )


class NoEnsemble(HeldoutError, code="no_model", status=409, title="The study has no ensemble"):
    """The study ended without an ensemble: no remedy won, or base and winner could not be measured on test."""

    def __init__(self, study_id: str, status: str) -> None:
        super().__init__(
            f"Study {study_id} is {status} and has no ensemble. A study only has one if a remedy won and was measured "
            "on test. Its jobs have their own models."
        )


class ExportNotReady(HeldoutError, code="not_ready", status=409, title="Not available yet"):
    """The export of the model to that format has not ended; `Retry-After`."""

    def __init__(self, source_id: str, format: str, status: str) -> None:
        super().__init__(
            f"The export of {source_id}'s model as {format} is {status}. A worker writes the file, loads it in its own "
            "runtime and compares the answers. Repeat the request in a moment, or with `wait=60`.",
            headers={"Retry-After": "2"},
        )


class ExportDiffers(
    HeldoutError, code="export_differs", status=409, title="The exported model gives different answers"
):
    """The exported model, loaded in its runtime, gives different answers than the job's own predictions.

    Such a file is never served.
    """

    def __init__(self, source_id: str, format: str, why: str) -> None:
        super().__init__(
            f"The model of {source_id} is not available as {format}. {why} "
            "A file in another format may agree. Once the worker has other packages, "
            f"POST {get_model_route(source_id)}?format={format} exports it again."
        )


class ExportFailed(HeldoutError, code="export_failed", status=409, title="The model could not be exported"):
    """The model could not be written in that format; the detail says why, and how to try again."""

    def __init__(self, source_id: str, format: str, why: str) -> None:
        super().__init__(
            f"The model of {source_id} could not be exported as {format}. {why} "
            f"POST {get_model_route(source_id)}?format={format} exports it again."
        )


class ExportNotSupported(HeldoutError, code="not_supported", status=422, title="The workers cannot write that format"):
    """The workers cannot write a model for this runtime, because packages are missing."""

    def __init__(self, source_id: str, format: str, why: str) -> None:
        super().__init__(
            f"The model of {source_id} cannot be exported as {format} here. {why} Then "
            f"POST {get_model_route(source_id)}?format={format} exports it again."
        )


class NoMap(HeldoutError, code="no_map", status=409, title="The network has no spatial map"):
    """The network has no layer that shows where it looks, such as a convolution, so there are no heatmaps."""

    def __init__(self, job_id: str, why: str) -> None:
        super().__init__(f"Job {job_id} has no heatmaps. {why}")


class HeatmapFailed(HeldoutError, code="heatmap_failed", status=409, title="The heatmap could not be computed"):
    """The heatmap of an image could not be computed; the detail says why, and how to try again."""

    def __init__(self, job_id: str, index: int, why: str) -> None:
        super().__init__(
            f"The heatmap of image {index} could not be computed. {why} "
            f"GET /v1/jobs/{job_id}/images/{index}/heatmap?again=true tries again."
        )


class ImageRefused(HeldoutError, code="unreadable_image", status=422, title="An image cannot be read"):
    """An image of the request is broken, not an image, or needs too much memory; `errors` says which one."""

    def __init__(self, index: int, name: str | None, detail: str) -> None:
        """index: the image's position in the request, from 0. name: its file name, if it has one."""
        where = f"Image {index + 1:,}" + (f" ({name[:100]!r})" if name else "")
        super().__init__(f"{where}: {detail}", errors=[FieldError(f"/images/{index}", detail)])


class WrongSize(ImageRefused, code="wrong_size", title="An image has the wrong size"):
    """The image's size differs from the dataset's images, which were not resized when they were uploaded."""


class WrongChannels(ImageRefused, code="wrong_channels", title="An image has the wrong channels"):
    """The image has colors but the model takes grayscale images, or the number of channels differs."""


class WrongDtype(ImageRefused, code="wrong_dtype", title="An image has values of the wrong type"):
    """The image's values have a different type than the dataset's pixels."""


class WrongRange(ImageRefused, code="wrong_range", title="An image has values outside the dataset's range"):
    """A pixel is not a finite number, or is outside the dataset's range."""


class TooManyImages(HeldoutError, code="too_many_images", status=422, title="Too many images"):
    """A request has more images than the model answers at once."""

    def __init__(self, received: int, allowed: int) -> None:
        count = f"{received:,}" if received < 10**12 else "far too many"
        super().__init__(
            f"Received {count} images; this model answers at most {allowed:,} at once. Send them in several requests."
        )


class NoImages(HeldoutError, code="no_images", status=422, title="There is no image"):
    """A prediction request contains no image."""

    def __init__(self) -> None:
        super().__init__(
            "Received no image. Send the bytes of a PNG, JPEG, WebP, BMP or .npy file as the body, or several such "
            "files as form fields named `images` (`curl -F images=@a.png -F images=@b.png`)."
        )


class NoTemperature(HeldoutError, code="no_temperature", status=409, title="The job has no temperature"):
    """The request asks for `calibrated`, but the job has no temperature from its validation images."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"No temperature was fitted for job {job_id}. Fitting one takes 50 validation images and a training that "
            "succeeded. Repeat the request without `calibrated`."
        )


class InvalidTensor(HeldoutError, code="invalid_tensor", status=400, title="A tensor is refused"):
    """`/v2` only, which answers `{"error": …}`: the request's tensors are not what the model takes."""


class PredictionsUnavailable(
    HeldoutError, code="predictions_unavailable", status=503, title="Predictions are unavailable at the moment"
):
    """The prediction process does not answer, or has as many requests as its memory allows; `Retry-After`."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why} Repeat the request shortly.", headers={"Retry-After": "1"})
