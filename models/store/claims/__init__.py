"""What workers and the reconciler do to jobs: claim, renew, checkpoint, settle, recover. The names for others."""

from models.store.claims.checkpoint import (
    Checkpoint,
    add_checkpoint,
    forget_checkpoints,
    forget_checkpoints_of_all_ended,
    forget_checkpoints_of_ended,
    unnamed,
)
from models.store.claims.claiming import Claimed, claim, claimable
from models.store.claims.lease import HeldAttempt, renew, requests, require_held
from models.store.claims.progress import begin, progress
from models.store.claims.recover import expire_pending, take_back_lost, take_back_of, unannounced
from models.store.claims.settle import Result, carry_out, fail, release, succeed

__all__ = [
    "Checkpoint",
    "Claimed",
    "HeldAttempt",
    "Result",
    "add_checkpoint",
    "begin",
    "carry_out",
    "claim",
    "claimable",
    "expire_pending",
    "fail",
    "forget_checkpoints",
    "forget_checkpoints_of_all_ended",
    "forget_checkpoints_of_ended",
    "progress",
    "release",
    "renew",
    "requests",
    "require_held",
    "succeed",
    "take_back_lost",
    "take_back_of",
    "unannounced",
    "unnamed",
]
