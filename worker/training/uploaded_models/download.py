"""Fetches a file of weights that an operator has ordered. Its content is not interpreted, only its digest computed."""

import hashlib
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from heldout.lifecycle.resources import ModelRejectionCode
from worker.training.model_files.refusal import ModelRefused, make_damaged

FETCHED_FILE = "fetched.h5"
# A server that sends nothing for this long is given up.
STALLED_S = 30
_PART_BYTES = 2**20


def fetch(url: str, file: Path, md5: str | None, max_bytes: int) -> None:
    """Write what is at this URL to a new file.

    Args:
        md5: the digest that it must have; None if none is known.
    Raises:
        ModelRefused: it is out of reach, incomplete, too large, or another file.
    """
    digest, received = hashlib.md5(usedforsecurity=False), 0
    try:
        with urlopen(url, timeout=STALLED_S) as answer, file.open("xb") as written:
            announced = answer.length
            while (part := answer.read(_PART_BYTES)) and received <= max_bytes:
                received += len(part)
                digest.update(part)
                written.write(part)
    except HTTPError as error:
        raise _refuse(url, f"the server answers {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise _refuse(url, str(getattr(error, "reason", None) or error)) from error
    if received > max_bytes:
        raise _refuse(url, f"the file has more than {max_bytes:,} bytes, and no such weights are that large")
    if announced is not None and received < announced:
        raise _refuse(url, f"{received:,} of {announced:,} bytes arrived")
    if md5 is not None and digest.hexdigest() != md5:
        raise make_damaged(f"{url} is another file than Keras expects: its MD5 is {digest.hexdigest()}, not {md5}.")


def _refuse(url: str, why: str) -> ModelRefused:
    return ModelRefused(
        ModelRejectionCode.NOT_FETCHED,
        f"Fetching {url} failed: {why[:200]}. It needs internet, or a mirror (`HELDOUT_KERAS_URL`). Without both, save "
        "the network on a machine with internet, and add its file with `heldout models add --shared`.",
    )
