"""Retried jobs: what continues, what changes, and that no epoch is counted twice."""

import pytest
from sqlalchemy import select

from analysis.jobs.examination import RetrySpec
from heldout.errors import InvalidSpec, StateGone
from heldout.lifecycle.job import JobStatus, StopReason
from heldout.spec.job import JobSpec
from models import job_creation
from models.blobs import Blobs
from models.store import claims, jobs
from models.tables import JobRow, LabelReadRow
from tests.models.work import ALICE, Work, final_of, sqlite_only

TRAINED = {"train_loss": 0.5, "validation_loss": 0.5, "validation_accuracy": 0.5}


@pytest.fixture
def blobs(tmp_path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


def retried(work: Work, blobs: Blobs, job_id: str, **asked: object) -> JobRow:
    with work.database.write() as session:
        again, _ = job_creation.retry(session, blobs, ALICE, job_id, RetrySpec(**asked), max_parameters=10**6)
    return work.row(again.id)


def trained(work: Work, blobs: Blobs, epochs: int = 2, reason: StopReason | None = StopReason.COMPLETED, **spec) -> str:
    """Train a job to its end, with its last state. Return its id."""
    held = work.running(**spec)
    work.begin(held)
    train_epochs(work, blobs, held, 1, epochs)
    if reason is None:
        work.fail(held, "diverged")
    else:
        work.succeed(held, reason)
    with work.database.write() as session:
        claims.forget_checkpoints_of_ended(session, held.job_id)
    return held.job_id


def train_epochs(work: Work, blobs: Blobs, held: claims.HeldAttempt, first: int, last: int) -> None:
    for epoch in range(first, last + 1):
        work.epoch(held, epoch, **TRAINED)
        work.checkpoint(held, epoch)
        blobs.put(f"jobs/{held.job_id}/{held.attempt}/{epoch}-0", f"state {epoch}".encode())


def reads(work: Work) -> set[tuple[str, str, int]]:
    with work.database.read() as session:
        return {(row.subject_id, row.split, row.epoch) for row in session.scalars(select(LabelReadRow))}


def test_a_job_continues_from_the_last_state_of_another_with_all_its_epochs(work, blobs):
    ended = trained(work, blobs)
    again = retried(work, blobs, ended, epochs=4)
    assert (again.retry_of, again.epochs, again.epoch, again.spec["training"]["epochs"]) == (ended, 4, 2, 4)
    assert again.spec == {**work.row(ended).spec, "training": {**work.row(ended).spec["training"], "epochs": 4}}
    claimed = work.claim()
    [state] = claimed.begins.checkpoints
    assert (state.epoch, state.step, blobs.read(state.key)) == (2, 0, b"state 2")
    assert state.key.startswith(f"jobs/{again.id}/")
    assert work.events(again.id)[0].data["continues"] == {"job": ended, "epoch": 2, "step": 0}
    work.begin(claimed.held, start_epoch=2)
    train_epochs(work, blobs, claimed.held, 3, 4)
    assert work.history(again.id) == [(0, 1), (0, 2), (1, 3), (1, 4)]


@sqlite_only
def test_deleting_the_first_job_does_not_affect_its_retry(work, blobs):
    ended = trained(work, blobs)
    again = retried(work, blobs, ended, epochs=4)
    with work.database.write() as session:
        jobs.remove(session, ALICE, ended)
    blobs.delete_all(f"jobs/{ended}")
    [state] = work.claim().begins.checkpoints
    assert blobs.read(state.key) == b"state 2"
    assert [epoch for _, epoch in work.history(again.id)] == [1, 2]


@sqlite_only
def test_epochs_are_hidden_if_training_must_begin_from_scratch(work, blobs):
    again = retried(work, blobs, trained(work, blobs), epochs=4)
    work.begin(claimed := work.claim().held, start_epoch=0)
    work.epoch(claimed, 1, **TRAINED)
    assert work.history(again.id) == [(1, 1)]


def test_the_ledger_counts_the_same_weights_once_for_all_retries(work, blobs):
    """The best epoch of a retry may be one of the first job: the same weights and labels."""
    first = trained(work, blobs)
    before = reads(work)
    assert before == {(first, "validation", 1), (first, "validation", 2), (first, "test", 1)}
    second = retried(work, blobs, first, epochs=3).id
    held = work.claim().held
    work.begin(held, start_epoch=2)
    train_epochs(work, blobs, held, 3, 3)
    work.succeed(held)  # it keeps epoch 1, as the first does
    assert reads(work) - before == {(second, "validation", 3)}
    third = retried(work, blobs, second, epochs=5).id
    held = work.claim().held
    work.begin(held, start_epoch=3)
    train_epochs(work, blobs, held, 4, 5)
    with work.database.write() as session:
        result = claims.Result(final_of(3), ())
        claims.succeed(session, held, result=result, stop_reason=StopReason.COMPLETED)
    added = reads(work) - before - {(second, "validation", 3)}
    assert added == {(third, "validation", 4), (third, "validation", 5), (second, "test", 3)}


@sqlite_only
@pytest.mark.parametrize(
    ("reason", "spec", "epochs", "message"),
    [
        (StopReason.COMPLETED, {}, 2, "2 epochs are done already"),
        (StopReason.EARLY_STOPPED, {}, 4, "stopped by early stopping after epoch 2"),
        (StopReason.OVERFIT_GUARD, {}, 4, "guard against overfitting"),
        (StopReason.COMPLETED, {"schedule": {"name": "cosine"}, "epochs": 2}, 4, "With the cosine schedule"),
    ],
)
def test_more_epochs_are_refused_if_they_would_not_continue_the_training(work, blobs, reason, spec, epochs, message):
    ended = trained(work, blobs, reason=reason, training={"seed": 1, **spec})
    work.set(ended, spec=work.row(ended).spec | {"training": work.row(ended).spec["training"] | spec})
    with pytest.raises(InvalidSpec, match=message) as refused:
        retried(work, blobs, ended, epochs=epochs)
    assert [error.pointer for error in refused.value.errors] == ["/epochs"]


@sqlite_only
@pytest.mark.parametrize("lost", ["row", "file"])
def test_a_lost_state_is_reported_and_the_request_leaves_nothing(work, blobs, tmp_path, lost):
    ended = trained(work, blobs, reason=None)
    if lost == "row":
        with work.database.write() as session:
            claims.forget_old_states(session, older_than_s=0)
    else:
        blobs.delete_all(f"jobs/{ended}")
    with pytest.raises(StateGone):
        retried(work, blobs, ended, epochs=4)
    assert {path.name for path in (tmp_path / "blobs" / "jobs").glob("*") if any(path.rglob("*.ckpt"))} == set()
    assert work.claim() is None


@sqlite_only
def test_a_patch_changes_only_its_fields(work, blobs):
    ended = trained(work, blobs, metadata={"team": "a"})
    patch = {"training": {"label_smoothing": 0.1}, "metadata": None, "network": {"blocks": [{"filters": 2}]}}
    spec = retried(work, blobs, ended, patch=patch).spec
    assert (spec["training"]["label_smoothing"], spec["training"]["seed"], spec["metadata"]) == (0.1, 1, {})
    assert [block["filters"] for block in spec["network"]["blocks"]] == [2]
    with pytest.raises(InvalidSpec):
        retried(work, blobs, ended, patch={"training": {"epochs": 0}})


@sqlite_only
def test_a_generated_name_follows_the_dataset_and_the_network(work, blobs):
    ended, smaller = trained(work, blobs), {"network": {"blocks": [{"filters": 2}]}}
    name = work.row(ended).name
    assert retried(work, blobs, ended, patch=smaller).name == name  # the owner's own
    with work.database.write() as session:
        job = session.get_one(JobRow, ended)
        name = JobSpec.model_validate(job.spec).generate_name("dots", ended)
        job.name, job.spec = name, {**job.spec, "name": name}
    found = retried(work, blobs, ended, patch=smaller)
    assert found.name == found.spec["name"] == f"dots 2 · {found.id[-6:]}"
    assert retried(work, blobs, ended, patch={"training": {"label_smoothing": 0.1}}).name == name


@sqlite_only
def test_a_remedy_is_tried_by_its_name(work, blobs):
    ended = trained(work, blobs)
    found = retried(work, blobs, ended, remedy="lower_learning_rate")
    assert found.spec["training"]["optimizer"]["learning_rate"] == pytest.approx(0.0001)
    assert found.name == found.spec["name"] == f"{work.row(ended).name} + lower learning rate"
    # A batch holds all training images, so an epoch has one step and the average has the shortest memory allowed.
    assert retried(work, blobs, ended, remedy="ema").spec["training"]["ema_decay"] == 0.9
    both = retried(work, blobs, ended, remedy="dropout+batch_norm").spec["network"]["blocks"][0]
    assert (both["dropout"], both["batch_norm"]) == (0.25, True)
    for name, message in (
        ("prayer", r"no remedy 'prayer'.*There are augmentation, .*zoom"),
        ("retune", "searches among several trainings"),
        ("transfer", "would change nothing.*no `initial`"),
        ("temperature", "accuracy never changes"),
    ):
        with pytest.raises(InvalidSpec, match=message) as refused:
            retried(work, blobs, ended, remedy=name)
        assert [error.pointer for error in refused.value.errors] == ["/remedy"]
    assert work.row(found.id).status is JobStatus.QUEUED
