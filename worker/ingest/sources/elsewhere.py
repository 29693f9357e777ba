"""What files beside the images may say of their classes, for a refusal that names the real cause."""

from collections.abc import Sequence

from worker.ingest.rejection import printable

_TABLE_EXTENSIONS = frozenset({"csv", "tsv", "xlsx", "xls"})
_NOTE_EXTENSIONS = frozenset({"txt", "xml"})  # a file for each image, as YOLO and Pascal VOC have it


def labels_elsewhere(names: Sequence[str], others: Sequence[str]) -> str:
    """A sentence on files that probably have the labels, with what to do; empty where there is none.

    Args: names are those of all files, others of those that are no images.
    """
    notes = [name for name in others if _extension(name) in _NOTE_EXTENSIONS]
    stems = {_stem(name) for name in set(names) - set(others)}
    of_images = [name for name in notes if _stem(name) in stems]
    annotations = [name for name in others if _extension(name) == "json" and "annotation" in name.lower()]
    if of_images or annotations:
        seen = printable((of_images or annotations)[0])
        return (
            f"{seen!r} looks like boxes or outlines of objects. Heldout learns one class for each image: cut the "
            "objects out, and put each into a folder named after its class."
        )
    table = next((name for name in others if _extension(name) in _TABLE_EXTENSIONS), None)
    if table is not None:
        return (
            f"The table {printable(table)!r} may say the classes, but it is not read: put each image into a folder "
            'named after its class. "Labels in a table" in docs/how-to/datasets.md has the lines of Python for it.'
        )
    return ""


def _extension(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[2].lower()


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]
