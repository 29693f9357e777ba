"""The reason why predictions are refused, and the place of the fault."""

Path = tuple[str | int, ...]


class PredictionsRefused(ValueError):
    """The message says what was received and what was expected.

    path: from the predictions to the value, such as `("test", "labels", 17)`; `("classes",)` is next to the splits.
    """

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.path = path
