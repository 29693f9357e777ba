"""Why an upload was not taken: a stable code, the member that did it, and what to do."""

from typing import Any

# Every code, for clients that branch on it and for the reference page.
CODES = {
    "not_an_archive": "The file is of none of the formats that are taken.",
    "unsupported_archive": "The archive is encrypted, split into volumes, or packed in a way that is not read.",
    "archive_damaged": "The archive ends too early, or its parts contradict each other.",
    "archive_bomb": "The archive unpacks to far more than it should, or its members share bytes.",
    "unsafe_path": "A member's name is absolute, leaves the archive's folder, or has control characters.",
    "unsafe_member": "A member is a link, a device or another special file.",
    "name_not_utf8": "A member's name is not UTF-8.",
    "duplicate_member": "Two members have the same name.",
    "too_many_members": "There are more members or rows than the limit.",
    "upload_too_large": "The upload is larger than the limit.",
    "member_too_large": "One file is larger than the limit.",
    "unpacked_too_large": "All members together are larger than the limit.",
    "normalised_too_large": "The images are larger than the limit once they are decoded.",
    "pickle_refused": "An array holds Python objects, which are never unpickled.",
    "bad_array": "An array has a shape, a type or values that are not images.",
    "bad_labels": "Labels are missing, do not fit the images, or are not one class an image.",
    "bad_table": "A Parquet file has no image or label column, or cannot be read.",
    "unexpected_layout": "Files do not lie as `class/file` or `split/class/file`.",
    "no_images": "There is not a single image.",
    "too_few_classes": "There are fewer than two classes.",
    "too_many_classes": "There are more classes than the limit.",
    "too_few_images": "A split would be empty.",
    "unreadable_member": "An image file is not an image, or is broken.",
    "unsupported_image": "An image is of a format that is not taken.",
    "animated_image": "An image has several frames.",
    "image_truncated": "An image file ends before its pixels do.",
    "image_too_large": "An image claims more pixels than the limit.",
    "image_bomb": "An image hides far more data than its pixels need.",
    "size_out_of_bounds": "Images are smaller or larger than what can be trained on.",
    "mixed_sizes": "Images differ in size, and no target size is given.",
    "group_unmatched": "The group rule does not match a name.",
    "group_too_slow": "The group rule takes too long to match.",
    "timed_out": "The check took longer than the limit.",
    "out_of_memory": "The check needed more memory than the limit.",
    "crashed": "The process that checks the upload ended without saying why.",
    "disk_full": "The worker's disk is full.",
    "internal": "Something broke on our side.",
}

# The upload may be good: another try, or another worker, can end differently.
RETRYABLE = frozenset({"timed_out", "crashed", "disk_full", "internal"})


class Rejection(Exception):
    """The upload is not taken; its text is shown to the owner.

    Args: code is one of CODES; detail says what was received, what is expected and what to do; member names the file,
    array or row that did it.
    """

    def __init__(self, code: str, detail: str, member: str | None = None) -> None:
        if code not in CODES:
            raise ValueError(f"{code!r} is no code of a rejection")
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.member = None if member is None else printable(member)

    @property
    def is_retryable(self) -> bool:
        """Whether the same upload may be taken at another try."""
        return self.code in RETRYABLE

    def __reduce__(self) -> tuple[Any, ...]:
        return Rejection, (self.code, self.detail, self.member)

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "detail": self.detail, "member": self.member}


def printable(name: str, longest: int = 200) -> str:
    """A name as it may be shown: control characters escaped, its middle left out where it is long."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)
    if len(shown) <= longest:
        return shown
    half = longest // 2
    return f"{shown[:half]}…{shown[-half:]}"


def amount(size: int) -> str:
    """Bytes as people read them: `1.5 GiB`."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
