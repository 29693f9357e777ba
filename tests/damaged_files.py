"""Every kind of stored file, and the responses while it is missing, cut or flipped: the table of the manual."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.blobs import Blobs

DAMAGES = ("missing", "cut", "flipped")
# Marks a route that still answers, and names the file that it left out.
LEFT_OUT = "left out"

# Routes by name. Those after the blank comment read none of the files below, so their responses never change.
ROUTES = {
    "thumbnail": "/v1/datasets/{dataset}/preview/0",
    "images": "/v1/datasets/{dataset}/images",
    "splits": "/v1/datasets/{dataset}/splits",
    "audit": "/v1/datasets/{dataset}/audit",
    "preview": "/v1/datasets/{dataset}/preview",
    "suspects": "/v1/datasets/{dataset}/suspects",
    "job's splits": "/v1/jobs/{job}/splits",
    "splits with folds": "/v1/jobs/{folds}/splits",
    "script": "/v1/jobs/{job}/model?format=python",
    "model": "/v1/jobs/{job}/model",
    "export": "/v1/jobs/{job}/model?format=onnx",
    "predictions": "/v1/jobs/{job}/predictions",
    "predictions as CSV": "/v1/jobs/{job}/predictions?format=csv",
    "confusion": "/v1/jobs/{job}/confusion",
    "images of a cell": "/v1/jobs/{job}/confusion/images?label={label}&answer={label}&split=train",
    "memorized": "/v1/jobs/{job}/memorized",
    "diagnosis": "/v1/jobs/{job}/diagnosis",
    "card": "/v1/jobs/{job}/card",
    "evaluation's confusion": "/v1/evaluations/{evaluation}/confusion",
    "evaluation's diagnosis": "/v1/evaluations/{evaluation}/diagnosis",
    #
    "dataset": "/v1/datasets/{dataset}",
    "datasets": "/v1/datasets",
    "job": "/v1/jobs/{job}",
    "jobs": "/v1/jobs",
    "metrics": "/v1/jobs/{job}/metrics",
    "events": "/v1/jobs/{job}/events",
    "exports": "/v1/jobs/{job}/exports",
    "report": "/v1/jobs/{job}/model/report?format=onnx",
    "evaluation": "/v1/evaluations/{evaluation}",
}


@dataclass(frozen=True)
class Kind:
    """A kind of stored file.

    key: where it is stored. routes: the `ROUTES` that respond with `lost` if it is missing, and with `damaged` if it is
    cut or flipped. left_out: the routes that respond without it and say so. jobs: which jobs need it, in words; they
    fail with `job_lost` or `damaged`.
    """

    what: str
    key: str
    lost: str
    damaged: str
    routes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    jobs: str = ""
    job_lost: str = ""
    again: str = "upload the dataset again"

    def answers(self, damage: str) -> dict[str, str]:
        """Map each affected route to the code that its response has or names."""
        code = self.lost if damage == "missing" else self.damaged
        return dict.fromkeys(self.routes, code) | dict.fromkeys(self.left_out, f"{LEFT_OUT}: {code}")


OF_DATASET: dict[str, Any] = {"lost": "dataset_lost", "damaged": "dataset_damaged"}
OF_CONTENT: dict[str, Any] = {**OF_DATASET, "jobs": "every job on it", "job_lost": "dataset_unavailable"}
_DIAGNOSED = ("diagnosis", "card")
RETRY = "retry the job"

KINDS = (
    Kind("images of a dataset", "datasets/{sha256}/images.npy", routes=("thumbnail",), **OF_CONTENT),
    Kind(
        "labels of a dataset",
        "datasets/{sha256}/labels.npy",
        routes=("images", "job's splits", "splits with folds", "script"),
        **OF_CONTENT,
    ),
    Kind(
        "splits of a dataset",
        "datasets/{sha256}/splits.npz",
        routes=("splits", "images", "job's splits", "splits with folds", "script"),
        **OF_CONTENT,
    ),
    Kind("class names of a dataset", "datasets/{sha256}/about.json", **OF_CONTENT),
    Kind(
        "audit",
        "datasets/{dataset}/audit.json",
        routes=("audit", "script"),
        left_out=(*_DIAGNOSED, "evaluation's diagnosis"),
        **OF_DATASET,
    ),
    Kind("file names of the images", "datasets/{dataset}/members.txt", routes=("images", "script"), **OF_DATASET),
    Kind(
        "copies and groups",
        "datasets/{dataset}/relations.npz",
        routes=("splits with folds",),
        jobs="jobs with folds",
        job_lost="dataset_unavailable",
        **OF_DATASET,
    ),
    Kind(
        "suspected labels",
        "datasets/{dataset}/suspects.json",
        routes=("suspects",),
        left_out=("audit", *_DIAGNOSED),
        again="`…/suspects?again=true`",
        **OF_DATASET,
    ),
    Kind("preview of a class", "datasets/{dataset}/preview/0.png", routes=("preview",), **OF_DATASET),
    Kind(
        "model of a job",
        "jobs/{job}/1/model.keras",
        "model_lost",
        "artifact_damaged",
        routes=("model",),
        jobs="exports, evaluations of a study",
        job_lost="model_unavailable",
        again=RETRY,
    ),
    Kind(
        "predictions of a job",
        "jobs/{job}/1/predictions.npz",
        "predictions_lost",
        "artifact_damaged",
        routes=("predictions", "predictions as CSV", "images of a cell", "memorized"),
        jobs="exports",
        job_lost="export_failed",
        again=RETRY,
    ),
    Kind(
        "scores of a job",
        "jobs/{job}/1/evaluation.json",
        "artifact_lost",
        "artifact_damaged",
        routes=("confusion", "images of a cell"),
        left_out=_DIAGNOSED,
        again=RETRY,
    ),
    Kind(
        "gap of a job",
        "jobs/{job}/1/gap.json",
        "artifact_lost",
        "artifact_damaged",
        left_out=_DIAGNOSED,
        again=RETRY,
    ),
    Kind(
        "exported model",
        "{export}",
        "export_lost",
        "artifact_damaged",
        routes=("export",),
        again="`POST …/model?format=…`",
    ),
    Kind(
        "uploaded model",
        "models/{model}/{model_file}",
        "",
        "artifact_damaged",
        jobs="its evaluations, jobs that start from it",
        job_lost="model_unavailable",
        again="upload the model again",
    ),
    Kind(
        "scores of an evaluation",
        "jobs/{evaluation}/1/evaluation.json",
        "artifact_lost",
        "artifact_damaged",
        routes=("evaluation's confusion",),
        left_out=("evaluation's diagnosis",),
        again="evaluate again",
    ),
    Kind(
        "gap of an evaluation",
        "jobs/{evaluation}/1/gap.json",
        "artifact_lost",
        "artifact_damaged",
        left_out=("evaluation's diagnosis",),
        again="evaluate again",
    ),
)


def damage(blobs: Blobs, key: str, how: str) -> bytes:
    """Damage a stored file, and return what it was."""
    whole = blobs.read(key)
    if how == "missing":
        blobs.delete(key)
    elif how == "cut":
        blobs.put(key, whole[: len(whole) * 2 // 3])
    else:
        at = len(whole) * 2 // 3
        blobs.put(key, whole[:at] + bytes([whole[at] ^ 0x04]) + whole[at + 1 :])
    return whole


def flip(file: Path, place: int) -> None:
    """Flip all bits of the byte at this place. A negative place counts from the end."""
    with file.open("r+b") as opened:
        opened.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        [byte] = opened.read(1)
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 255]))


def walk(get: Callable[[str], Any], blobs: Blobs, ids: Mapping[str, str], roots: tuple[str, ...]) -> None:
    """Damage each kind of file in each way, and compare every response with the original.

    Args:
        get: fetches a path, and returns a response with `status_code`, `content` and `text`.
        ids: values for the placeholders of paths and keys; routes and kinds that need others are skipped.
        roots: folders of this machine, which no response may mention.
    """
    paths = {name: path.format_map(ids) for name, path in ROUTES.items() if _is_known(path, ids)}
    before = {name: get(path) for name, path in paths.items()}
    unanswered = {name: answer.text[:300] for name, answer in before.items() if answer.status_code != 200}
    assert not unanswered, unanswered
    for kind in KINDS:
        for how in DAMAGES if _is_known(kind.key, ids) else ():
            key = kind.key.format_map(ids)
            whole = damage(blobs, key, how)
            expected = kind.answers(how)
            # A route that reads the file notices either that it is missing or that its digest is another.
            for name, path in paths.items() if how != "cut" else _select(paths, expected):
                _check(f"{kind.what}, {how}: {name}", get(path), before[name], expected.get(name), roots)
            blobs.put(key, whole)
    after = {name: get(path).content for name, path in paths.items()}
    assert after == {name: answer.content for name, answer in before.items()}


def _select(paths: Mapping[str, str], expected: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, path) for name, path in paths.items() if name in expected]


def _check(what: str, answer: Any, before: Any, expected: str | None, roots: tuple[str, ...]) -> None:
    if answer.status_code != 200 or expected is not None:
        assert not any(root in answer.text for root in roots), what
    if expected is None:
        assert (answer.status_code, answer.content) == (200, before.content), what
    elif not expected.startswith(LEFT_OUT):
        assert answer.status_code == 410, (what, answer.text)
        problem = json.loads(answer.text)
        assert problem["code"] == expected, (what, problem)
        assert "`heldout check --deep`" in problem["detail"], what
    else:
        assert answer.status_code == 200, (what, answer.text)
        code = expected.removeprefix(f"{LEFT_OUT}: ")
        if "left_out" in answer.text:
            assert [file["code"] for file in json.loads(answer.text)["left_out"]] == [code], what
        else:
            assert f"Left out (`{code}`): " in answer.text, what


def _is_known(template: str, ids: Mapping[str, str]) -> bool:
    try:
        template.format_map(ids)
    except KeyError:
        return False
    return True


def as_markdown() -> str:
    """Format the table of the manual."""
    lines = [
        "| file | missing | cut, or other bytes | answered by | jobs that need it | again, without a backup |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        routes = ", ".join(kind.routes)
        if kind.left_out:
            routes += f"{'; ' if routes else ''}{', '.join(kind.left_out)}: without it, in `left_out`"
        jobs = f"{kind.jobs}: `{kind.job_lost}` or `{kind.damaged}`" if kind.jobs else ""
        lost = f"`{kind.lost}`" if kind.lost else ""
        lines.append(f"| {kind.what} | {lost} | `{kind.damaged}` | {routes} | {jobs} | {kind.again} |")
    return "\n".join(lines) + "\n"
