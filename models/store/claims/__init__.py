"""What workers and the reconciler do to jobs: claim, renew, checkpoint, settle, recover. Others import from here."""

from models.store.claims.checkpoint import (
    Checkpoint,
    add_checkpoint,
    checkpoints_of,
    forget_checkpoints,
    forget_checkpoints_of_ended,
    forget_old_states,
    keys_without_checkpoint,
)
from models.store.claims.claiming import Claimed, Waiting, claim, claimable, first_in_line, make_room
from models.store.claims.lease import HeldAttempt, renew, requests, require_held
from models.store.claims.progress import record_epoch, record_progress, record_start
from models.store.claims.recover import (
    expire_pending,
    now_and_has_work,
    recover_expired_leases,
    recover_from_dead_workers,
    training_waits,
    wake_ups_to_repeat,
)
from models.store.claims.settle import (
    Result,
    complete,
    fail,
    give_way,
    has_succeeded,
    kept_when_cancelled,
    note_summary,
    release,
    stop_as_requested,
    succeed,
)

__all__ = [
    "Checkpoint",
    "Claimed",
    "HeldAttempt",
    "Result",
    "Waiting",
    "add_checkpoint",
    "checkpoints_of",
    "claim",
    "claimable",
    "complete",
    "expire_pending",
    "fail",
    "first_in_line",
    "forget_checkpoints",
    "forget_checkpoints_of_ended",
    "forget_old_states",
    "give_way",
    "has_succeeded",
    "kept_when_cancelled",
    "keys_without_checkpoint",
    "make_room",
    "note_summary",
    "now_and_has_work",
    "record_epoch",
    "record_progress",
    "record_start",
    "recover_expired_leases",
    "recover_from_dead_workers",
    "release",
    "renew",
    "requests",
    "require_held",
    "stop_as_requested",
    "succeed",
    "training_waits",
    "wake_ups_to_repeat",
]
