"""The models that a process has in memory: loaded when they are first asked for, the least used ones dropped."""

import asyncio
import time
from collections import Counter, OrderedDict

from starlette.concurrency import run_in_threadpool

from api.turns import Turns
from heldout.errors import ExportFailed, ExportLost
from heldout.service.settings import Settings
from heldout.stored.artifacts import ExportFormat
from models.blobs import BlobMissing, Blobs
from models.database import Database, Session
from models.ordered_exports import ModelSource, OrderedExport, find_or_order, find_training_with_model
from models.store.keys import Caller
from models.tables import ExportRow
from predict import metrics
from predict.held_out import HeldOutImages
from predict.model import ServedModel, get_facts
from predict.runtime import OnnxNetwork
from predict.work import WorkThreads

POLL_S = 0.2
# So many requests of one owner wait for exports; more are answered at once that theirs is not there yet.
MAX_WAITING_EACH = 32


class ModelCache:
    """Models by their jobs."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        settings: Settings,
        work: WorkThreads,
        threads: int,
    ) -> None:
        """threads: with which each model computes."""
        self._database = database
        self._blobs = blobs
        self._settings = settings
        self._work = work
        self._threads = threads
        self._models: OrderedDict[str, ServedModel] = OrderedDict()
        # One after the other, of owners in turn: a model that many ask for is loaded once, and many models do not fill
        # the memory.
        self._loading = Turns(2, per_group=1)
        self._waiting: Counter[str] = Counter()

    def get_loaded(self, job_id: str) -> ServedModel | None:
        """The model, if it is in memory."""
        model = self._models.get(job_id)
        if model is not None:
            self._models.move_to_end(job_id)
        return model

    async def get(self, caller: Caller, job_id: str, *, wait_s: float) -> ServedModel:
        """The model of the caller's job. Where nobody has exported it yet, that is ordered, and waited for.

        Raises:
            JobNotFound, NotReady, NoModel, DatasetNotFound, QuotaExceeded, OwnerSuspended: as for `GET …/model`.
            ExportNotReady: its export has not ended after `wait_s`. ExportDiffers, ExportFailed, ExportNotSupported.
            ModelLost, ExportLost, ArtifactDamaged, StorageUnavailable, DatabaseUnavailable.
        """
        if (model := self.get_loaded(job_id)) is not None:
            return model
        row = await self._get_export(caller, job_id, wait_s)
        async with self._loading.taken(caller.owner):
            if (model := self.get_loaded(job_id)) is not None:
                return model
            model = await self._work.load(caller.owner, lambda: self._load(caller, job_id, row))
            self._models[job_id] = model
            self._drop_least_used()
            metrics.LOADS.inc()
            self.measure()
            return model

    def measure(self) -> None:
        """Say in the metrics what is in memory."""
        metrics.MODELS.set(len(self._models))
        metrics.MODELS_BYTES.set(self._size_bytes)

    async def _get_export(self, caller: Caller, job_id: str, wait_s: float) -> ExportRow:
        """The row of the proven ONNX file."""
        deadline = time.monotonic() + wait_s

        def find(session: Session) -> ModelSource:
            return find_training_with_model(session, caller, job_id)

        def ask() -> OrderedExport:
            return find_or_order(self._database, caller, find, ExportFormat.ONNX)

        asked = await run_in_threadpool(ask)
        if self._waiting[caller.owner] >= MAX_WAITING_EACH:
            return asked.stored()
        self._waiting[caller.owner] += 1
        try:
            while not asked.has_ended and time.monotonic() < deadline:
                await asyncio.sleep(POLL_S)
                asked = await run_in_threadpool(ask)
        finally:
            self._waiting[caller.owner] -= 1
            self._waiting += Counter()  # forgets owners of whom none waits
        return asked.stored()

    def _load(self, caller: Caller, job_id: str, row: ExportRow) -> ServedModel:
        assert row.key is not None, "an export to ONNX has stored a file"
        try:
            content = self._blobs.read(row.key, row.digest)
        except BlobMissing as error:
            raise ExportLost(job_id, ExportFormat.ONNX) from error
        with self._database.read() as session:
            facts = get_facts(session, self._blobs, caller.owner, job_id)
        try:
            network = OnnxNetwork(content, self._threads)
        except Exception as error:
            raise ExportFailed(job_id, ExportFormat.ONNX, "onnxruntime cannot read the stored file.") from error
        held_out = HeldOutImages(self._database, self._blobs, job_id, facts.epoch, facts.dataset_sha256)
        return ServedModel(network, facts, len(content), held_out)

    def _drop_least_used(self) -> None:
        """Drop models until the rest has room, of the owner whose models take most; the newest one stays."""
        newest = next(reversed(self._models))
        while len(self._models) > 1 and self._size_bytes > self._settings.predict_cache_bytes:
            older = [(job_id, model) for job_id, model in self._models.items() if job_id != newest]
            sizes: Counter[str] = Counter()
            for _, model in older:
                sizes[model.facts.owner] += model.size_bytes
            most = max(sizes.values())
            del self._models[next(job_id for job_id, model in older if sizes[model.facts.owner] == most)]

    @property
    def _size_bytes(self) -> int:
        return sum(model.size_bytes for model in self._models.values())
