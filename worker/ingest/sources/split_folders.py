"""Finds the split folders of an archive. An ambiguous folder is refused, never guessed.

Two layouts are understood: `split/class/file` and `class/split/file`.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from analysis.arrays.dataset import SPLITS
from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import FolderUse
from worker.ingest.rejection import Rejection, clean_name
from worker.ingest.splits import NO_SPLIT

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
# Words that add nothing to the name of a split: `training_set`, `test-images`.
FILLER_WORDS = frozenset({"set", "data", "dataset", "split", "image", "images", "img", "imgs", "pictures", "folder"})
# Folders of images without known labels, such as the `seg_pred` of a competition.
UNLABELLED_WORDS = frozenset({"pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled", "nolabel"})
# These folders are never a class, whatever is next to them.
NEVER_A_CLASS = frozenset({"unlabeled", "unlabelled", "nolabel"})
FOLD_NAME = re.compile(r"(?:k?fold|cv|split|part|set|dataset|batch|subset)[_\-. ]?\d+", re.IGNORECASE)
_FUSED = re.compile(rf"({'|'.join(SPLIT_NAMES)})(?:{'|'.join(sorted(FILLER_WORDS, key=len, reverse=True))})")
SHOWN_FOLDERS = 5


@dataclass(frozen=True)
class PlacedImages:
    """The splits of images. Rows are positions in the given paths.

    splits, paths: of each kept row, its position in SPLITS or NO_SPLIT, and its path from the class on. unlabelled,
    ignored: rows left out, by folder: without labels, or ignored by the dataset spec.
    """

    rows: list[int] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    unlabelled: dict[str, list[int]] = field(default_factory=dict)
    ignored: dict[str, list[int]] = field(default_factory=dict)


def place_images(paths: Sequence[str], uses: Mapping[str, FolderUse]) -> PlacedImages:
    """Separate splits from classes. Each path has at least one folder. `uses` has the dataset spec's rules for folders.

    Raises:
        Rejection: `unexpected_layout`, with the folder or file that does not fit.
    """
    top: dict[str, list[int]] = {}
    for row, path in enumerate(paths):
        top.setdefault(path.partition("/")[0], []).append(row)
    unknown = sorted(set(uses) - set(top))
    if unknown:
        raise _make_unexpected(
            f"There is no folder {clean_name(unknown[0])!r}, which `splits.folders` names. The folders are "
            f"{_describe_all(top)}.",
            unknown[0],
        )
    placed = PlacedImages(ignored={name: top.pop(name) for name, use in uses.items() if use == "ignore"})
    for name in [name for name in top if name not in uses and _split_words(name) & NEVER_A_CLASS and len(top) > 2]:
        if len(_list_folders(paths, top[name])) <= 1:
            placed.unlabelled[name] = top.pop(name)
    splits = {name: str(use) for name, use in uses.items() if use in SPLITS}
    classes = {name for name, use in uses.items() if use == "class"}
    others = [name for name in top if name not in splits and name not in classes]
    if not classes:
        is_flat = {name: all(paths[row].count("/") == 1 for row in top[name]) for name in others}
        splits |= _find_known(others, is_flat, bool(splits))
    elif splits:
        raise _make_unexpected("`splits.folders` calls some folders splits and others classes.", sorted(classes)[0])
    if not splits:
        _add_classes(placed, paths, top, check_folders=not classes)
        return placed
    for name in [name for name in others if name not in splits]:
        if _split_words(name) & UNLABELLED_WORDS and len(_list_folders(paths, top[name])) <= 1:
            placed.unlabelled[name] = top.pop(name)
    strays = sorted(set(top) - set(splits))
    if strays:
        raise _make_unexpected(
            f"Next to {_describe_splits(splits)} there {'is' if len(strays) == 1 else 'are'} {_describe_all(strays)}, "
            f"which {'is' if len(strays) == 1 else 'are'} not a known split. {_suggest_what_to_say(strays[0])}",
            strays[0],
        )
    named_alike = [name for name in splits if name not in uses]
    for name in named_alike:
        twin = next((other for other in named_alike if other > name and splits[other] == splits[name]), None)
        if twin is not None:
            raise _make_unexpected(
                f"{clean_name(name)!r} and {clean_name(twin)!r} are both names of the {splits[name]} split. "
                f"{_suggest_what_to_say(twin, splits[name])}",
                twin,
            )
    # An archive of a single split often has one folder around its classes.
    are_wrapped = all(
        min(paths[row].count("/") for row in top[name]) > 2
        and len({paths[row].split("/")[1] for row in top[name]}) == 1
        for name in splits
    )
    inside = {name: _strip_split_folder(paths, top[name], name, is_wrapped=are_wrapped) for name in splits}
    if flat := [name for name in splits if any("/" not in path for path in inside[name])]:
        flat.sort(key=lambda name: SPLITS.index(splits[name]))
        raise _make_without_classes(flat, splits, paths, top, inside)
    for name in splits:
        placed.rows.extend(top[name])
        placed.splits.extend([SPLITS.index(splits[name])] * len(top[name]))
        placed.paths.extend(inside[name])
    return placed


def split_named(name: str) -> tuple[str, frozenset[str]] | None:
    """Return the split that a folder's name means, and its other words. None if it names no split or several."""
    words = _split_words(name)
    hits = words & SPLIT_NAMES.keys()
    if len(hits) != 1:
        return None
    return SPLIT_NAMES[next(iter(hits))], frozenset(words - hits - FILLER_WORDS)


def _split_words(name: str) -> set[str]:
    # `trainA` and `train2017` are two words each.
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[a-zA-Z])(?=\d)", " ", name).lower()
    words = [word for word in re.split(r"[_\-. ]+", parted) if word]
    # `trainset` is one word.
    return {fused[1] if (fused := _FUSED.fullmatch(word)) else word for word in words}


def _find_known(names: Sequence[str], is_flat: Mapping[str, bool], has_splits: bool) -> dict[str, str]:
    """Return the folders whose names mean a split, and the split of each."""
    found = {name: split for name in names if (split := split_named(name))}
    plain = {name: split for name, (split, rest) in found.items() if not rest}
    if not plain:
        # `seg_train` and `seg_test` share the word that does not name a split.
        rests = {rest for split, rest in found.values() if split == "train"}
        for rest in sorted(rests, key=sorted):
            alike = {name: split for name, (split, other) in found.items() if other == rest}
            unlabelled = any(_split_words(name) - UNLABELLED_WORDS == rest != _split_words(name) for name in names)
            if len(set(alike.values())) + unlabelled > 1:
                plain |= alike
    # Next to several other classes, a flat folder `train` is the vehicle.
    if not has_splits and [name.lower() for name in plain] == ["train"] and is_flat[next(iter(plain))]:
        others = [name for name in names if name not in plain and not _split_words(name) & UNLABELLED_WORDS]
        if len(others) > 1 and all(not FOLD_NAME.fullmatch(name) for name in others):
            return {}
    return plain


def _list_folders(paths: Sequence[str], rows: Iterable[int]) -> set[str]:
    return {paths[row].split("/")[1] for row in rows if paths[row].count("/") > 1}


def _add_classes(
    placed: PlacedImages, paths: Sequence[str], top: Mapping[str, list[int]], *, check_folders: bool
) -> None:
    """Add folders that are classes, perhaps with splits in them."""
    rows = [row for of_folder in top.values() for row in of_folder]
    second = {row: parts[1] for row in rows if len(parts := paths[row].split("/")) > 2}
    splits = {row: named[0] for row, name in second.items() if (named := split_named(name)) and not named[1]}
    inside = len(rows) == len(splits)
    if inside and all(paths[row].count("/") == 2 for row in rows):
        for row in rows:
            folder, _, file = paths[row].split("/")
            placed.rows.append(row)
            placed.splits.append(SPLITS.index(splits[row]))
            placed.paths.append(f"{folder}/{file}")
        return
    if inside or len(set(splits.values())) > 1:
        row = next(row for row in rows if inside or row not in splits)
        raise _make_unexpected(
            f"Splits such as {clean_name(second[next(iter(splits))])!r} lie inside of {_describe_all(top)}"
            + (", with more folders in them" if inside else f", and {clean_name(paths[row])!r} lies in none of them")
            + ". Put the splits on top: `train/class/file`, `test/class/file`.",
            paths[row],
        )
    folds = sorted(name for name in top if FOLD_NAME.fullmatch(name))
    if check_folders and len(folds) > 1:
        raise _make_unexpected(
            f"The folders {_describe_all(folds)} look like parts of one dataset, not like classes. "
            f"{_suggest_what_to_say(folds[0])}",
            folds[0],
        )
    for row in rows:
        placed.rows.append(row)
        placed.splits.append(NO_SPLIT)
        placed.paths.append(paths[row])


def _strip_split_folder(paths: Sequence[str], rows: Sequence[int], folder: str, *, is_wrapped: bool) -> list[str]:
    """Return paths inside a split's folder without folders that name no class: `train/train/…`, `train/images/…`."""
    below = [paths[row].split("/", 2 if is_wrapped else 1)[-1] for row in rows]
    while len(wrappers := {path.partition("/")[0] for path in below}) == 1 and all("/" in path for path in below):
        wrapper = next(iter(wrappers))
        if wrapper.lower() not in FILLER_WORDS | {folder.lower()}:
            break
        below = [path.partition("/")[2] for path in below]
    return below


def _make_without_classes(
    flat: Sequence[str],
    splits: Mapping[str, str],
    paths: Sequence[str],
    top: Mapping[str, list[int]],
    below: Mapping[str, list[str]],
) -> Rejection:
    """Reject splits whose images are in no class folder."""
    found = {name: [row for row, path in zip(top[name], below[name], strict=True) if "/" not in path] for name in flat}
    row = found[flat[0]][0]
    count = sum(map(len, found.values()))
    are = "image lies" if count == 1 else "images lie"
    fault = (
        f"{count:,} {are} in {_describe_splits(flat)} and in no class folder there, such as {clean_name(paths[row])!r}."
    )
    if len(flat) < len(splits) and all(len(found[name]) == len(top[name]) for name in flat):
        ignoring = ", ".join(f'"{clean_name(name, 60)}": "ignore"' for name in flat)
        options = " ".join(f"--folder {clean_name(name, 60)}=ignore" for name in flat)
        fault += f' If they have no labels, leave them out: `"splits": {{"folders": {{{ignoring}}}}}`, or `{options}`.'
    return _make_unexpected(f"{fault} Files must lie as `split/class/file`.", paths[row])


def _describe_splits(splits: Collection[str]) -> str:
    return ("the split " if len(splits) == 1 else "the splits ") + _describe_all(splits)


def _describe_all(names: Iterable[str]) -> str:
    shown = [repr(clean_name(name, 60)) for name in sorted(names)]
    if len(shown) > SHOWN_FOLDERS:
        return f"{', '.join(shown[:SHOWN_FOLDERS])} and {len(shown) - SHOWN_FOLDERS:,} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _suggest_what_to_say(folder: str, use: str = "ignore") -> str:
    name = clean_name(folder, 60)
    how = f'`"splits": {{"folders": {{"{name}": "{use}"}}}}`, or `--folder {name}={use}`'
    return (
        f"Say what each folder is, such as {how} (or train, validation, test, class, ignore), "
        f"rename it, or remove it. Known names of splits are {', '.join(SPLIT_NAMES)}."
    )


def _make_unexpected(why: str, member: str) -> Rejection:
    return Rejection(RejectionCode.UNEXPECTED_LAYOUT, why, member)
