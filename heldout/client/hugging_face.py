"""Datasets of Hugging Face's hub, read on the client: `hf:owner/name`, `hf:owner/name/config`, or `hf:FOLDER`."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from heldout.client.packing import NothingToPack

PREFIX = "hf:"
PACKED = (".zip", ".tar", ".gz", ".tgz")
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def is_reference(path: Path | str) -> bool:
    """Return whether a path names a dataset of Hugging Face."""
    return str(path).startswith(PREFIX)


def expand_references(paths: Iterable[Path]) -> list[Path]:
    """Replace references to datasets by their files here; other paths stay.

    Raises:
        NothingToPack: a dataset is not here and cannot be fetched, or has several configurations.
        OSError: a folder cannot be read.
    """
    return [found for path in paths for found in (_expand(str(path)) if is_reference(path) else [path])]


def _expand(reference: str) -> list[Path]:
    text = reference.removeprefix(PREFIX)
    if (folder := Path(text).expanduser()).is_dir():
        return choose_files(folder, None)
    owner, _, rest = text.partition("/")
    name, _, config = rest.partition("/")
    if not owner or not name:
        raise NothingToPack(f"{reference}: expected hf:owner/name, hf:owner/name/config, or hf: and a folder here.")
    return choose_files(_fetch(f"{owner}/{name}"), config or None)


def _fetch(dataset: str) -> Path:
    """Return the folder with a dataset's files: downloaded if `huggingface_hub` is installed, else from its cache."""
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        why = "the package huggingface_hub, which downloads it, is not installed"
    else:
        try:
            return Path(snapshot_download(dataset, repo_type="dataset"))
        except Exception as error:  # noqa: BLE001 - of the hub and of each of its transports
            why = f"it cannot be downloaded: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    if (cached := _find_in_cache(dataset)) is not None:
        return cached
    raise NothingToPack(
        f"The dataset {dataset} is not in the cache {_get_cache()}, and {why}. Download it with "
        f"`hf download --repo-type dataset {dataset} --local-dir FOLDER`, and name it as hf:FOLDER."
    )


def _get_cache() -> Path:
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache)
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub"


def _find_in_cache(dataset: str) -> Path | None:
    folder = _get_cache() / f"datasets--{dataset.replace('/', '--')}"
    try:
        revision = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    found = folder / "snapshots" / revision
    return found if found.is_dir() else None


def choose_files(folder: Path, config: str | None) -> list[Path]:
    """Return what to upload of a dataset's folder: its Parquet files, its archives, or its folder of images.

    Args:
        config: a folder of Parquet files, if there are several.
    Raises:
        NothingToPack: the folder has nothing to upload, or several configurations and none is named.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path, folder)]
    tables = [path for path in files if path.suffix == ".parquet"]
    if tables:
        return _choose_tables(folder, tables, config)
    if config is not None:
        raise NothingToPack(f"{folder} has no configuration {config}: it has no Parquet files.")
    if any(path.suffix.lower() in IMAGES for path in files):
        above = {path.relative_to(folder).parts[0] for path in files if path.suffix.lower() in IMAGES}
        return [folder / "data"] if above == {"data"} else [folder]
    if packed := [path for path in files if path.suffix.lower() in PACKED]:
        return packed
    raise NothingToPack(f"{folder} has no Parquet files, no archives and no images.")


def _choose_tables(folder: Path, tables: Sequence[Path], config: str | None) -> list[Path]:
    configs = sorted({path.relative_to(folder).parts[0] for path in tables if path.parent != folder})
    if config is not None and config not in configs:
        raise NothingToPack(f"{folder} has no configuration {config}; it has {', '.join(configs) or 'none'}.")
    if not configs:
        return list(tables)
    if config is None and (len(configs) > 1 or any(path.parent == folder for path in tables)):
        raise NothingToPack(
            f"{folder} has several configurations: {', '.join(configs)}. Name one, such as hf:owner/name/{configs[0]}."
        )
    # A folder of tables alone is sent whole, since files in it may have the same name.
    return [folder / (config or configs[0])]


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
