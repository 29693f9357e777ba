"""Attempts at data: an upload, a derived version, or the copies in a dataset. A sandboxed process reads them."""

import signal
import time
from abc import abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import structlog

from analysis.arrays.columns import COLUMNS_FILE
from analysis.arrays.dataset import FILES
from analysis.arrays.file_names import MEMBERS_FILE
from analysis.arrays.relations import FILE_NAME as RELATIONS_FILE
from analysis.arrays.relations import make_relations_key
from heldout.errors import QuotaExceeded
from heldout.errors.missing import Damaged
from heldout.lifecycle.job import JobStatus
from heldout.lifecycle.resources import RejectionCode, is_fixed_by_resize
from heldout.stored.audit import IngestedContent, StoredAudit
from heldout.stored.looks import StoredLooks
from heldout.work.kinds import DeriveSpec, IngestSpec, RelateSpec
from heldout.work.memory import MemoryKill
from models import pretrained
from models.database import Session
from models.store import claims, file_digests, ingests, relations, searches, versions
from worker.ingest.parent import BoundedProcess
from worker.ingest.rejection import IngestLimits, Rejection
from worker.supervision.attempt import Attempt

log = structlog.get_logger()

# Stored for this dataset and not by content: they reveal the owner's file names, or depend on its group rule.
OWN_FILES = (StoredAudit.file_name, MEMBERS_FILE, COLUMNS_FILE, RELATIONS_FILE, "preview")

OfData = TypeVar("OfData", bound=IngestSpec | DeriveSpec | RelateSpec)


class BoundedAttempt(Attempt[OfData]):
    """Its process has its own time limit, and reports failures as a Rejection."""

    @abstractmethod
    def settle_rejected(self, rejection: Rejection, kill: MemoryKill | None) -> None:
        """End the job if its process produced nothing. kill: how it was killed for memory, if it was."""

    @property
    def is_out_of_time(self) -> bool:
        return False

    @property
    def limits(self) -> IngestLimits:
        return IngestLimits(
            upload_bytes=self.settings.max_upload_bytes,
            normalised_bytes=self.settings.max_normalised_bytes,
            wall_s=int(self.spec.max_runtime_s),
        )

    def work(self, in_use: ExitStack) -> None:
        try:
            super().work(in_use)
        except Rejection as rejection:
            crashed = rejection.code is RejectionCode.CRASHED
            self.settle_rejected(rejection, self.watch.kill_of(-signal.SIGKILL) if crashed else None)


class IngestAttempt(BoundedAttempt[IngestSpec | DeriveSpec]):
    """Makes a dataset from an upload, or from another version."""

    what = "The ingest"

    def settle_rejected(self, rejection: Rejection, kill: MemoryKill | None) -> None:
        if kill is not None and not kill.is_cause:
            self.settle_kill(kill)
        elif rejection.is_retryable:
            self.lease.fail(rejection.code, rejection.detail)
        else:
            self._reject(rejection)

    def settle_missing(self) -> None:
        if isinstance(self.spec, IngestSpec):
            base = f", or the images of {self.spec.base_name} are not," if self.spec.base else ""
            detail = f"The upload is not in the blob store{base}. Upload it again."
            self._reject(Rejection(RejectionCode.UPLOAD_MISSING, detail))
        else:
            detail = f"The images of {self.spec.base_name} are not in the blob store any more. Upload them again."
            self._reject(Rejection(RejectionCode.BASE_MISSING, detail))

    def settle_damaged(self, damaged: Damaged) -> None:
        self._reject(Rejection(RejectionCode.DATASET_DAMAGED, damaged.detail))

    def start(self, in_use: ExitStack) -> BoundedProcess:
        spec = self.spec
        assignment: dict[str, Any] = {"spec": spec.dataset.model_dump(mode="json"), "base": None}
        inputs: dict[str, Path | None] = {}
        if isinstance(spec, IngestSpec):
            inputs["source"] = self._upload(spec.upload)
        else:
            assignment["changes"] = spec.changes.body()
        if spec.base is not None:
            base = spec.base
            inputs["content"] = self.files.open_dataset(spec.base_sha256, in_use.enter_context)
            inputs["names"] = self.files.fetch_names(base, self.folder)
            inputs["columns"] = self.files.fetch_columns(base, self.folder)
            different = self.lease.read(lambda session: versions.find_different(session, base))
            looks = self.files.fetch_looks_if_there(base, self.folder)
            copies = () if looks is None else StoredLooks.from_bytes(looks.read_bytes()).copies
            called = {"called": spec.base_name, "sha256": spec.base_sha256}
            assignment["base"] = {**called, "different": different, "copies": copies}
        return BoundedProcess(
            "ingest" if "source" in inputs else "derive", assignment, inputs, self.written, self.limits
        )

    def _upload(self, key: str) -> Path:
        """Return the upload as a file: the blob itself if blobs are local, else a copy."""
        self.lease.blobs.require_whole(key, self.lease.read(lambda session: file_digests.find(session, key)))
        in_place = self.lease.blobs.get_local_folder(key)
        if in_place is not None:
            return in_place
        copy = self.folder / "upload"
        self.lease.blobs.fetch(key, copy, watch=self.lease.require)
        return copy

    def settle(self, message: IngestedContent) -> bool:
        began, dataset_id = time.monotonic(), self.claimed.dataset.id
        own = {path.relative_to(self.written): path for name in OWN_FILES for path in _list_files(self.written / name)}
        try:
            self.lease.persist(
                lambda session: ingests.reserve_content(
                    session,
                    self.lease.held,
                    dataset_id,
                    message.sha256,
                    size_bytes=message.size_bytes,
                    beside_bytes=sum(path.stat().st_size for path in own.values()),
                )
            )
        except QuotaExceeded as refused:
            raise Rejection(RejectionCode.QUOTA_EXCEEDED, refused.detail) from refused
        files = {f"datasets/{message.sha256}/{name}": self.written / name for name in FILES}
        files |= {f"datasets/{dataset_id}/{path.as_posix()}": file for path, file in own.items()}
        digests = self.files.store(files)

        def settled(session: Session) -> JobStatus:
            status = ingests.mark_ready(session, self.lease.held, dataset_id, message, digests)
            if status is JobStatus.SUCCEEDED and self.settings.check_labels:
                searches.queue_internally(session, searches.SUSPECTS, dataset_id)
            if (
                status is JobStatus.SUCCEEDED
                and self.settings.features
                and pretrained.is_coming(session, self.settings.pretrained)
            ):
                searches.queue_internally(session, searches.FEATURES, dataset_id)
            return status

        if self.lease.settle(settled) is JobStatus.SUCCEEDED:
            self._forget_upload()
            log.info("dataset_ready", dataset_id=dataset_id, stored_s=round(time.monotonic() - began, 3))
        return True

    def _reject(self, rejection: Rejection) -> None:
        log.info("dataset_rejected", dataset_id=self.claimed.dataset.id, code=rejection.code.value)
        self.lease.settle(lambda session: claims.reject(session, self.lease.held, rejection.as_json()))
        if not (isinstance(self.spec, IngestSpec) and is_fixed_by_resize(rejection.code, base=self.spec.base)):
            self._forget_upload()

    def _forget_upload(self) -> None:
        if isinstance(self.spec, IngestSpec):
            self.lease.forget([self.spec.upload])


class RelateAttempt(BoundedAttempt[RelateSpec]):
    """Finds the copies and groups of a stored dataset, and keeps it in use meanwhile."""

    what = "The search for copies"

    def start(self, in_use: ExitStack) -> BoundedProcess:
        content = self.files.open_dataset(self.claimed.dataset.sha256, in_use.enter_context)
        # Names are only needed for groups.
        group_by = self.spec.group_by
        names = None if group_by is None else self.files.fetch_names(self.claimed.dataset.id, self.folder)
        inputs = {"content": content, "names": names}
        return BoundedProcess("relate", {"group_by": group_by}, inputs, self.written, self.limits)

    def settle_rejected(self, rejection: Rejection, kill: MemoryKill | None) -> None:
        log.warning("copies_not_found", code=rejection.code.value, lines=self.child.last_lines())
        if kill is not None:
            self.settle_kill(kill)
        else:
            self.lease.fail(rejection.code, rejection.detail)

    def settle(self, message: dict[str, str]) -> bool:
        dataset_id = self.claimed.dataset.id
        self.lease.require()
        files = self.files.store({make_relations_key(dataset_id): self.written / RELATIONS_FILE})
        status = self.lease.settle(
            lambda session: relations.mark_stored(session, self.lease.held, dataset_id, message, files)
        )
        if status is JobStatus.SUCCEEDED:
            log.info("relations_stored", dataset_id=dataset_id)
        return True


def _list_files(place: Path) -> list[Path]:
    """Return the file itself, or the files in the folder."""
    return [path for path in sorted([place, *place.rglob("*")]) if path.is_file()]
