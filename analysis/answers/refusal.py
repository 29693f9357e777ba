"""Why predictions from anywhere are refused, and where in them the fault is."""

Path = tuple[str | int, ...]


class PredictionsRefused(ValueError):
    """The message says what was received and what was expected.

    path: from the predictions to the value, such as `("test", "labels", 17)`; `("classes",)` is beside the splits.
    """

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.path = path
