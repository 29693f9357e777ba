"""Judges: their sealed labels, the candidates that they are sent, and their close.

Labels and answers are blobs that no route returns. A decision reads them without a transaction, and counts only if the
judge has not changed meanwhile.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from sqlalchemy import select

from analysis.studies.sealed_judge import ERROR, Answers, Budget, compare_at_close, estimate_detectable_gain, judge
from analysis.studies.stored import ArmPlan, StudyPlan, pack_arrays, unpack_arrays
from heldout.access.rights import Quota, count_bytes
from heldout.errors import CandidateRefused, InvalidSpec, LooksSpent, StorageUnavailable, StudyFinished, StudyNotFound
from heldout.lifecycle.resources import StudyStatus
from heldout.studies.judge import CandidateAnswers, CandidateSpec, JudgeSpec, SealedLabels
from heldout.studies.spec import BASE_ARM
from heldout.views.judge import CandidateView, JudgeView
from heldout.views.study import ConclusionView
from heldout.words import judging as words
from models.blobs import BlobMissing, Blobs
from models.database import Database, Session, db_now
from models.ids import make_id
from models.store import events, quotas, studies, study_found
from models.tables import DatasetRow, StudyRow

# How many attempts that were not judged are listed; all are counted.
MOST_REFUSED = 50
MOST_TRIES = 5
# The only arm of its view: the candidates are attempts, without figures.
_BASE = {
    "name": BASE_ARM,
    "patch": {},
    "status": "racing",
    "jobs": [],
    "seeds": 0,
    "train": None,
    "validation": None,
    "difference": None,
}

Sealed = Mapping[str, Mapping[str, Any]]
AnswersBySplit = Mapping[str, Answers]


def create_judge(session: Session, blobs: Blobs, owner: str, asked: JudgeSpec) -> tuple[StudyRow, DatasetRow | None]:
    """Open a judge, and seal its labels. Raises QuotaExceeded, OwnerSuspended."""
    places = {name: place for place, name in enumerate(asked.classes)}
    splits = {"validation": asked.validation, "test": asked.test}
    sealed = {name: _seal(split, places) for name, split in splits.items() if split is not None}
    content = json.dumps(sealed)
    plan = StudyPlan(
        kind="judge",
        arms=(ArmPlan(BASE_ARM, {}),),
        seeds=asked.seeds,
        folds=None,
        train_images=0,
        validation_images=len(asked.validation.ids),
        has_test=asked.test is not None,
        margin=asked.margin,
        objective="accuracy",
    )
    size = count_bytes(plan.to_text(), content)
    quotas.require_room(session, owner, Quota.STUDIES, spec_bytes=size or 0)
    study_id = make_id("std")
    opened = JudgeView(
        looks=asked.looks,
        spent=0,
        error=ERROR,
        classes=asked.classes,
        validation_images=len(asked.validation.ids),
        test_images=0 if asked.test is None else len(asked.test.ids),
        tried=0,
        best=None,
        attempts=[],
    )
    blobs.put(_name_labels(study_id), content.encode())
    studies.add(
        session,
        id=study_id,
        owner=owner,
        name=asked.name or f"Judge · {study_id[-6:]}",
        kind="judge",
        dataset_id=None,
        base_job=None,
        user_metadata=dict(asked.metadata),
        spec={},
        spec_bytes=size,
        remedies=[],
        plan=plan.to_json(),
        found={"judge": opened.model_dump(mode="json"), "files": {}, **_count(opened)},
        priority=0,
    )
    events.add(session, study_id, "study.started", f"Opened with {asked.looks:,} looks.", data={"looks": asked.looks})
    return studies.find(session, owner, study_id)


def judge_candidate(
    database: Database, blobs: Blobs, owner: str, study_id: str, asked: CandidateSpec, key_id: str | None
) -> CandidateView:
    """Judge a candidate, or keep the base, and note the attempt.

    A candidate that is sent again unchanged gets its answer again: the first one may have been lost on the way. That
    spends no look, and does not count as an attempt.

    Raises:
        StudyNotFound, StudyFinished, InvalidSpec.
        CandidateRefused: it was not judged, and spent no look.
        LooksSpent: no look was left.
    """
    for _ in range(MOST_TRIES):
        attempt = _judge_once(database, blobs, owner, study_id, asked, key_id)
        if attempt is not None:
            return attempt
    refused = CandidateRefused("Other candidates are being judged just now. Send it again.")
    with database.write() as session:
        row = studies.lock(session, study_id)
        if row is None:
            raise StudyNotFound(study_id)
        _require_open(row)
        opened = JudgeView.model_validate(row.found["judge"])
        about = _identify(session, opened, asked, key_id)
        opened = _note(opened, CandidateView(**about, answer="refused", explanation=refused.detail))
        _write(session, study_id, row.found, opened)
    raise refused


def _judge_once(
    database: Database, blobs: Blobs, owner: str, study_id: str, asked: CandidateSpec, key_id: str | None
) -> CandidateView | None:
    """Judge a candidate, and note the attempt. Returns None if another candidate was noted meanwhile."""
    with database.read() as session:
        study, _ = studies.find(session, owner, study_id)
        version, found, seeds = study.version, study.found, study.plan["seeds"]
        _require_open(study)
        opened, files = JudgeView.model_validate(found["judge"]), dict(found["files"])
        about = _identify(session, opened, asked, key_id)
    refusal: CandidateRefused | LooksSpent | None = None
    file, before = f"studies/{study_id}/arms/{secrets.token_hex(8)}.npz", files.get("best")
    digests = dict(found.get("digests", {}))
    try:
        sealed: Sealed = json.loads(blobs.read(_name_labels(study_id)))
        answers = _read_answers(asked, sealed, seeds, len(opened.classes))
        digest = _compute_digest(answers)
        if digests.get(asked.name) == digest:
            return next(tried for tried in opened.attempts if tried.arm == asked.name and _is_judged(tried))
        attempt = _decide(blobs, study_id, opened, before, sealed, answers, about)
        digests[asked.name] = digest
    except BlobMissing as missing:
        # Another request has replaced the best, or has deleted the judge.
        with database.read() as session:
            if studies.find(session, owner, study_id)[0].version == version:
                raise StorageUnavailable from missing
        return None
    except (CandidateRefused, LooksSpent) as refused:
        refusal = refused
        answer = "spent" if isinstance(refused, LooksSpent) else "refused"
        attempt = CandidateView(**about, answer=answer, explanation=refused.detail)
    is_best = attempt.answer in ("base", "better")
    if is_best:
        blobs.put(file, pack_arrays(dict(answers)))
        files = {"base": files.get("base", file), "best": file}
    with database.write() as session:
        row = studies.lock(session, study_id)
        is_same = row is not None and row.version == version
        if is_same:
            _write(session, study_id, found, _note(opened, attempt), files=files, digests=digests)
            if refusal is None:
                message = f"{words.quote_candidate(asked.name)}: {attempt.explanation}"
                data = {"arm": asked.name, "answer": attempt.answer}
                events.add(session, study_id, "study.judged", message, data=data)
    if not is_same:
        if is_best:
            blobs.delete(file)
        return None
    if is_best and before is not None and before != files["base"]:
        with suppress(StorageUnavailable):  # the attempt counts already
            blobs.delete(before)
    if refusal is not None:
        raise refusal
    return attempt


def _identify(session: Session, opened: JudgeView, asked: CandidateSpec, key_id: str | None) -> dict[str, Any]:
    """Return the fields of an attempt that say which one it is: its number, name, key and time."""
    at = session.scalar(select(db_now()))
    return {"number": opened.tried + 1, "arm": asked.name, "by": key_id, "at": at}


def _write(session: Session, study_id: str, found: Mapping[str, Any], opened: JudgeView, **parts: Any) -> None:
    """Write the judge with a new attempt. parts: of what was found, which replace the former ones."""
    judge_now = opened.model_dump(mode="json")
    studies.write(session, study_id, found={**found, "judge": judge_now, **parts, **_count(opened)})


def close_judge(database: Database, blobs: Blobs, owner: str, study_id: str) -> None:
    """End a judge: read the test labels once, for the base and the best. Raises StudyNotFound, StudyFinished."""
    with database.read() as session:
        study, _ = studies.find(session, owner, study_id)
        _require_open(study)
        version, found, plan = study.version, study.found, study.plan
    opened, files = JudgeView.model_validate(found["judge"]), found["files"]
    has_won, reads = bool(files) and files["best"] != files["base"], 0
    kind, change, bounds = "cannot_tell", 0.0, (0.0, 0.0)
    if has_won and opened.test_images:
        labels = np.asarray(json.loads(blobs.read(_name_labels(study_id)))["test"]["labels"])
        right = [unpack_arrays(blobs.read(files[which]))["test"] == labels for which in ("best", "base")]
        change, bounds = compare_at_close(right[0], right[1])
        margin, reads = plan["margin"], 2 * plan["seeds"]
        kind = "better" if bounds[0] > 0 else "as_good" if bounds[0] > -margin else kind
        kind = "worse" if kind == "cannot_tell" and bounds[1] < 0 else kind
    explanation = words.explain_close(
        opened.best if has_won else None, change, bounds, opened.test_images, opened.spent
    )
    kind = "better" if has_won and not opened.test_images else kind
    conclusion = ConclusionView(kind=kind, remedy=opened.best if has_won else None, explanation=explanation)
    with database.write() as session:
        row = studies.lock(session, study_id)
        if row is None or row.version != version:
            raise CandidateRefused("A candidate was judged just now. Close the judge again.")
        ended = {**found, "conclusion": conclusion.model_dump(mode="json"), **_count(opened, reads)}
        study_found.end(session, row, StudyStatus.SUCCEEDED, ended, explanation)


def _note(opened: JudgeView, attempt: CandidateView) -> JudgeView:
    """Add an attempt. Of those that were not judged, only the newest stay."""
    attempts = [*opened.attempts, attempt]
    unjudged = [old.number for old in attempts if not _is_judged(old)]
    kept = [old for old in attempts if old.number not in unjudged[:-MOST_REFUSED]]
    return opened.model_copy(
        update={
            "attempts": kept,
            "tried": attempt.number,
            "spent": opened.spent + (attempt.look is not None),
            "best": attempt.arm if attempt.answer in ("base", "better") else opened.best,
        }
    )


def _decide(
    blobs: Blobs,
    study_id: str,
    opened: JudgeView,
    best_file: str | None,
    sealed: Sealed,
    answers: AnswersBySplit,
    about: dict[str, Any],
) -> CandidateView:
    """Judge a candidate. What is refused is refused without a look at labels, so a refusal says nothing about them."""
    name, validation = about["arm"], answers["validation"]
    if opened.best is None or best_file is None:
        return CandidateView(**about, answer="base", explanation="It is the base, with which candidates are compared.")
    if opened.spent >= opened.looks:
        raise LooksSpent(opened.looks, study_id)
    if any(name == tried.arm and _is_judged(tried) for tried in opened.attempts):
        raise CandidateRefused(f'"{name}" was judged before. Give each candidate a name of its own.')
    best = unpack_arrays(blobs.read(best_file))["validation"]
    labels, betters = sealed["validation"]["labels"], sum(tried.answer == "better" for tried in opened.attempts)
    budget = Budget(opened.looks, opened.spent, betters)
    finding, look = judge(validation, best, np.asarray(labels), budget), opened.spent + 1
    if finding.answer == "too_similar":
        raise CandidateRefused(words.explain_too_similar(opened.best, finding.differing, budget.least_differing))
    if finding.answer == "better":
        explanation = words.explain_better(opened.best, finding.gain or 0.0)
        return CandidateView(**about, answer="better", gain=finding.gain, explanation=explanation, look=look)
    detectable = estimate_detectable_gain(finding.differing, len(labels), budget)
    explanation = words.explain_not_surely(opened.best, finding.differing, len(labels), detectable, len(validation))
    return CandidateView(**about, answer="cannot_tell", explanation=explanation, look=look)


def _is_judged(attempt: CandidateView) -> bool:
    return attempt.look is not None or attempt.answer == "base"


def _compute_digest(answers: AnswersBySplit) -> str:
    return hashlib.sha256(b"".join(answers[split].tobytes() for split in sorted(answers))).hexdigest()


def _read_answers(asked: CandidateSpec, sealed: Sealed, seeds: int, classes: int) -> AnswersBySplit:
    """Put the answers in the order of the judge. Raises CandidateRefused for answers to other images."""
    given = {"validation": asked.validation, "test": asked.test}
    found = {}
    for split, labels in sealed.items():
        answers = given[split]
        if answers is None:
            raise CandidateRefused(
                f"There are no answers to {split} images. They stay sealed until the close; send them."
            )
        found[split] = _order(answers, split, labels["ids"], seeds, classes)
    return found


def _order(given: CandidateAnswers, split: str, ids: list[str], seeds: int, classes: int) -> Answers:
    if len(given.answers) != seeds:
        raise CandidateRefused(f"Received answers of {len(given.answers)} seeds; expected {seeds}.")
    named = ids if given.ids is None else given.ids
    count = next((len(row) for row in given.answers if len(row) != len(named)), len(named))
    if count != len(ids) or len(named) != len(ids):
        raise CandidateRefused(f"Received answers to {count:,} {split} images; this judge has {len(ids):,}.")
    places = {name: place for place, name in enumerate(named)}
    other = next((name for name in ids if name not in places), None)
    if other is not None:
        raise CandidateRefused(f"The answers are for other {split} images: there is none for {json.dumps(other[:80])}.")
    answers = np.asarray(given.answers, np.int16)[:, [places[name] for name in ids]]
    if int(np.max(answers)) >= classes:
        raise CandidateRefused(f"Received the answer {int(np.max(answers))}; expected a class from 0 to {classes - 1}.")
    if len({hashlib.sha256(row.tobytes()).digest() for row in answers}) < seeds and split == "validation":
        raise CandidateRefused("Two seeds gave exactly the same answers. Seed each training with its own number.")
    return answers


def _seal(split: SealedLabels, places: Mapping[str, int]) -> dict[str, Any]:
    return {"ids": split.ids, "labels": [places[label] for label in split.labels]}


def _count(opened: JudgeView, test_reads: int = 0) -> dict[str, Any]:
    return {
        "arms": [_BASE],
        "progress": {"jobs": opened.looks, "done": opened.spent, "eta_s": None},
        "ledger": {"validation_reads": opened.spent, "test_reads": test_reads, "jobs": 0, "seconds": 0.0},
    }


def _name_labels(study_id: str) -> str:
    return f"studies/{study_id}/sealed.json"


def _require_open(study: StudyRow) -> None:
    if study.kind != "judge":
        raise InvalidSpec("Only a judge takes candidates, and this is another kind of study.", pointer="")
    if study.status is not StudyStatus.RUNNING or study.cancel_requested:
        raise StudyFinished(study.id, study.status, "A new judge needs images that no candidate was judged on.")
