"""The client's methods for judges, which keep labels that no candidate sees, and the files that they read."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from posixpath import normpath
from typing import Any

from heldout.client.dual import Mode, dual
from heldout.client.models import ModelSources
from heldout.client.resource import OneHandle
from heldout.metrics import USUAL_MARGIN
from heldout.views.judge import CandidateView
from heldout.views.study import StudyView


class Judges(ModelSources[OneHandle, Mode]):
    """The part of studies that is about judges."""

    @dual
    async def judge(
        self,
        classes: Sequence[str],
        validation: Mapping[str, str],
        test: Mapping[str, str] | None = None,
        *,
        looks: int = 20,
        seeds: int = 1,
        margin: float = USUAL_MARGIN,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> OneHandle:
        """Open a judge, which keeps labels that no candidate sees.

        Args:
            classes: in the order in which answers number them.
            validation, test: the label of each image, by its id. test: read once, at the close.
            looks: how many candidates may be judged. seeds: of each of them.
        """
        splits = {"validation": validation, "test": test}
        sealed = {
            split: None if labels is None else {"ids": [*labels], "labels": [*labels.values()]}
            for split, labels in splits.items()
        }
        order = {"kind": "judge", "classes": [*classes], **sealed, "looks": looks, "seeds": seeds, "margin": margin}
        body = {**order, "name": name, "metadata": dict(metadata or {})}
        return await self._create(StudyView, "/v1/studies", body, None)

    @dual
    async def add_arm(
        self, study_id: str, name: str, validation: Mapping[str, Any], test: Mapping[str, Any] | None = None
    ) -> CandidateView:
        """Send a judge a candidate, and return the attempt with its answer. The first one is the base.

        The same candidate may be sent again, such as after a lost connection: it gets the same answer.

        Args:
            validation, test: `answers`, a list of class numbers for each seed, and the `ids` of the images.
        Raises:
            CandidateRefused: it cannot be judged. No look was spent.
            LooksSpent: no look is left.
        """
        body = {"name": name, "validation": dict(validation), "test": None if test is None else dict(test)}
        return await self._read(CandidateView, "POST", self._path(study_id, "arms"), body=body, repeatable=True)

    @dual
    async def close(self, study_id: str) -> OneHandle:
        """Close a judge: its test labels are read once. The key needs the right `admin`."""
        return await self._receive(StudyView, "POST", self._path(study_id, "close"))


# --- files ------------------------------------------------------------------------------------------------------


def read_labels(path: Path) -> dict[str, dict[str, str]]:
    """Read a CSV with the columns `split`, `image` and `label`: for each split, the label of each image.

    Raises:
        ValueError: a column or a value is missing, an image is named twice, or a split is neither validation nor test.
    """
    found: dict[str, dict[str, str]] = {}
    for split, image, label in _read_rows(path, "label"):
        found.setdefault(split, {})[image] = label
    return found


def read_answers(paths: Sequence[Path], study: StudyView) -> dict[str, dict[str, Any]]:
    """Read a CSV for each seed, with the columns `split`, `image` and `answer`, as arguments of `add_arm`.

    Raises:
        ValueError: the study is not a judge, or a file cannot be used. It lacks a column or a value, names an image
            twice, has other images than the first file, or gives an unknown class.
    """
    if study.judge is None:
        raise ValueError(f"{study.id} is not a judge. A person opens one: `heldout studies seal`.")
    numbers = {name: number for number, name in enumerate(study.judge.classes)}
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        answers: dict[str, dict[str, int]] = {}
        for split, image, answer in _read_rows(path, "answer"):
            if answer not in numbers:
                raise ValueError(f"{path}: received the answer {answer[:40]!r}; expected one of the judge's classes.")
            answers.setdefault(split, {})[image] = numbers[answer]
        for split, by_image in answers.items():
            part = found.setdefault(split, {"ids": [*by_image], "answers": []})
            if by_image.keys() != set(part["ids"]):
                raise ValueError(f"{path}: expected the same {split} images as in {paths[0]}.")
            part["answers"].append([by_image[image] for image in part["ids"]])
    return found


def _read_rows(path: Path, last: str) -> list[tuple[str, str, str]]:
    columns = ("split", "image", last)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: expected the columns {', '.join(columns)}; missing: {', '.join(missing)}.")
        rows, lines = [], dict[tuple[str, str], int]()
        for row in reader:
            line, values = reader.line_num, tuple(row[name] or "" for name in columns)
            empty = next((name for name, value in zip(columns, values, strict=True) if not value), None)
            if empty is not None:
                raise ValueError(f"{path}: line {line} has no {empty}.")
            split, image, value = values
            # Ids are kept as written. `./a.png` and `a.png` are one file, so one of the two rows would be wrong.
            same = (split, normpath(image.replace("\\", "/")))
            if same in lines:
                raise ValueError(
                    f"{path}: lines {lines[same]} and {line} name the same {split} image, {image[:80]!r}. Keep one."
                )
            lines[same] = line
            rows.append((split, image, value))
    other = next((split for split, *_ in rows if split not in ("validation", "test")), None)
    if other is not None:
        raise ValueError(f"{path}: received the split {other!r}; expected validation or test.")
    return rows
